"""What a generator looked at while it wrote, word by word, in JSON's types."""

from typing import Any

import numpy as np

from visem_tf.alignment.mrf import find_segments
from visem_tf.alignment.segments import box_as_json, snippet_as_json


def attended(caption: str, attention: np.ndarray, boxes: np.ndarray) -> dict[str, Any]:
    """The region that each word of a caption looked at most.

    Args:
      caption: Of W words.
      attention: float [W, R]; a word's weights sum to 1.
      boxes: float [R, 4], `rel_yxyx`.

    Returns:
      "words", each with "word", "region", "box" and "weight", 0 to 1; and "segments", words that
      follow each other and looked at one region, as in `alignments.jsonl`; a segment's score is the
      mean weight of its words.

    Example:
      >>> boxes = np.array([[0, 0, 1, 1], [0, 0, 0.5, 0.5]])
      >>> found = attended("a dog", np.array([[0.9, 0.1], [0.3, 0.7]]), boxes)
      >>> [(segment["text"], segment["region"], segment["score"]) for segment in found["segments"]]
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
