"""Descriptions of images for people and programs: which regions to show, and JSON files."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from visem_tf.runs.description import Description

_FUNCTION_WORDS = {
    *("a", "an", "the", "its", "his", "her", "their", "and", "or", "is", "are", "of", "in", "on"),
    *("at", "by", "to", "into", "onto", "with", "through", "from"),
}


def best_regions(texts: Sequence[str], quality: np.ndarray) -> list[int]:
    """Returns the regions whose texts are worth showing, the best first.

    The whole frame is left out, and so are texts of function words alone and texts that equal a
    better one.

    Args:
        texts: R texts; region 0 is the whole frame.
        quality: Float array [R], how good each text is; minus infinity for padded regions.

    Example:
        >>> best_regions(["a dog", "a ball", "on the", "a ball"], np.array([9.0, 1.0, 5.0, 2.0]))
        [3]
    """
    by_text: dict[str, int] = {}
    for region in np.argsort(-quality, kind="stable").tolist():
        informative = set(texts[region].split()) - _FUNCTION_WORDS
        if region > 0 and informative and np.isfinite(quality[region]):
            by_text.setdefault(texts[region], region)
    return list(by_text.values())


def chosen_regions(description: Description, count: int = 6) -> list[int]:
    """Returns the regions of an image to show, the best first.

    Texts are better the better they fit their region; without an alignment model, the higher the
    probabilities of their words are.

    Args:
        description: Description of an image.
        count: Largest number of regions.
    """
    quality = description.region_fits
    if quality is None:
        quality = word_probabilities(description.region_captions, description.region_log_probs)
    return best_regions(description.region_captions, quality)[:count]


def word_probabilities(texts: Sequence[str], log_probs: np.ndarray) -> np.ndarray:
    """Computes the geometric mean of the word probabilities of texts.

    Args:
        texts: R texts.
        log_probs: Log-probabilities of the texts, float array [R].

    Returns:
        Float array [R], 0 to 1.
    """
    return np.exp(log_probs / np.array([len(text.split()) + 1 for text in texts]))
