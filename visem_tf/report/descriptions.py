"""Descriptions of images for people and programs: which regions to show, JSON, and drawings."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from visem_tf.alignment.segments import attended_regions, box_as_json
from visem_tf.report.drawing import draw_regions
from visem_tf.runs.description import Description
from visem_tf.runtime.files import write_atomically
from visem_tf.runtime.storage import AnyPath

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
        quality = word_probabilities(description)
    return best_regions(description.region_captions, quality)[:count]


def word_probabilities(description: Description) -> np.ndarray:
    """Computes the geometric mean of the word probabilities of every region's text.

    Args:
        description: Description of an image with R regions.

    Returns:
        Float array [R], 0 to 1.
    """
    lengths = np.array([len(text.split()) + 1 for text in description.region_captions])
    return np.exp(description.region_log_probs / lengths)


def as_json(image: str, description: Description) -> dict[str, Any]:
    """Converts the description of a named image to JSON's types; boxes are `rel_yxyx`.

    If the generator attends to regions, "attention" tells to which, see
    `visem_tf.alignment.segments.attended_regions`.
    """
    fits = description.region_fits
    regions = [
        {
            "box": box_as_json(box),
            "caption": caption,
            "log_prob": round(float(description.region_log_probs[n]), 4),
            "region_score": round(float(description.region_scores[n]), 4),
            "fit": None if fits is None else round(float(fits[n]), 4),
        }
        for n, (box, caption) in enumerate(
            zip(description.boxes, description.region_captions, strict=True)
        )
    ]
    described = {
        "image": image,
        "caption": description.caption,
        "log_prob": round(description.log_prob, 4),
        "regions": regions,
    }
    if description.attention is not None:
        described["attention"] = attended_regions(
            description.caption, description.attention, description.boxes
        )
    return described


def write_json(path: AnyPath, content: Any) -> None:
    """Writes JSON in one piece; bytes of file names that are not text are escaped."""
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    write_atomically(path, text.encode("utf-8", "backslashreplace"))


def draw_segments(
    image: Image.Image, segments: Sequence[Mapping[str, Any]], sentence: str
) -> Image.Image:
    """Draws the segments of a sentence on their regions, with the sentence below the image.

    Args:
        image: Any image.
        segments: Segments of `visem_tf.runs.phrase_grounding.ground_sentences`.
        sentence: The sentence.
    """
    boxes = np.array([segment["box"] for segment in segments]).reshape(-1, 4)
    texts = [segment["text"] for segment in segments]
    return draw_regions(image, boxes, texts, sentence)
