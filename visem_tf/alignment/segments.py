"""Text segments: words that are aligned with one region (paper, section 3.1.4), and their JSON."""

from collections.abc import Sequence
from typing import Any

import numpy as np


def find_segments(
    regions: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Finds text segments: maximal runs of words with the same region.

    Args:
        regions: Region of every word, int array [S, T], as returned by `smooth_alignment`; negative
            in the padding.

    Returns:
        Four int arrays [M], ordered by sentence and word: the sentence, the first word, the last
        word (inclusive) and the region of every segment.

    Raises:
        ValueError: If `regions` is not a matrix.

    Example:
        >>> sentence, first, last, region = find_segments(np.array([[4, 4, 7, -1]]))
        >>> first, last, region
        (array([0, 2]), array([1, 2]), array([4, 7]))
    """
    regions = np.asarray(regions)
    if regions.ndim != 2:
        raise ValueError(f"regions must have shape [S, T], not {regions.shape}")
    real = regions >= 0
    changes = regions[:, 1:] != regions[:, :-1]
    edge = np.ones((len(regions), 1), bool)
    sentence, first = np.nonzero(real & np.hstack([edge, changes])[:, : regions.shape[1]])
    _, last = np.nonzero(real & np.hstack([changes, edge])[:, : regions.shape[1]])
    return sentence, first, last, regions[sentence, first]


def snippet_as_json(
    words: Sequence[str],
    first: int,
    last: int,
    region: int,
    box: np.ndarray | None,
    score: float,
) -> dict[str, Any]:
    """Describes a segment of a sentence in JSON types.

    Args:
        words: Words of the whole sentence.
        first: Index of the first word of the segment.
        last: Index of its last word, inclusive.
        region: Index of the region that all words of the segment are aligned with.
        box: Box of this region, float array [4], `rel_yxyx`, or None if it is unknown.
        score: Mean of v_i · s_t over the words of the segment.

    Example:
        >>> snippet_as_json(["a", "red", "ball"], 1, 2, 7, np.array([0, 0, 0.5, 1]), 2.5)["text"]
        'red ball'
    """
    return {
        "text": " ".join(words[first : last + 1]),
        "first": int(first),
        "last": int(last),
        "region": int(region),
        "box": None if box is None else box_as_json(box),
        "score": round(float(score), 4),
    }


def box_as_json(box: Sequence[float] | np.ndarray) -> list[float]:
    """Rounds a box or a point, float array [4] or [2], to four digits."""
    return [round(float(edge), 4) for edge in box]


def attended_regions(caption: str, attention: np.ndarray, boxes: np.ndarray) -> dict[str, Any]:
    """Finds the region with the largest attention weight for each word of a generated caption.

    Args:
        caption: Caption of W words.
        attention: Attention weights, float array [W, R]; the weights of a word sum to 1.
        boxes: Boxes of the regions, float array [R, 4], `rel_yxyx`.

    Returns:
        Dictionary with "words", each with "word", "region", "box" and "weight" (0 to 1), and
        "segments": maximal runs of words with one region, as in `alignments.jsonl`, with the mean
        weight of the words as the score.

    Example:
        >>> boxes = np.array([[0, 0, 1, 1], [0, 0, 0.5, 0.5]])
        >>> found = attended_regions("a dog", np.array([[0.9, 0.1], [0.3, 0.7]]), boxes)
        >>> [(part["text"], part["region"], part["score"]) for part in found["segments"]]
        [('a', 0, 0.9), ('dog', 1, 0.7)]
    """
    words = caption.split()
    regions = attention.argmax(axis=1)
    weights = attention.max(axis=1, initial=0)
    _, first, last, region = find_segments(regions[np.newaxis])
    return {
        "words": [
            {
                "word": word,
                "region": int(chosen),
                "box": box_as_json(boxes[chosen]),
                "weight": round(float(weight), 4),
            }
            for word, chosen, weight in zip(words, regions, weights, strict=True)
        ],
        "segments": [
            snippet_as_json(words, a, b, i, boxes[i], np.mean(weights[a : b + 1]))
            for a, b, i in zip(first, last, region, strict=True)
        ],
    }
