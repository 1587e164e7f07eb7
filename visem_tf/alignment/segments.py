"""Snippets of text with their regions, in JSON's types: for `alignments.jsonl` and for commands."""

from collections.abc import Sequence
from typing import Any

import numpy as np


def snippet_as_json(
    words: Sequence[str],
    first: int,
    last: int,
    region: int,
    box: np.ndarray | None,
    score: float,
) -> dict[str, Any]:
    """A snippet of a sentence.

    Args:
      words: Of the whole sentence.
      first: Its first word.
      last: Its last word, inclusive.
      region: The region that all of its words chose.
      box: Of the region, float [4], `rel_yxyx`; None where it is not known.
      score: The mean of v_i . s_t over its words.

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


def box_as_json(box: np.ndarray) -> list[float]:
    """A box float [4], `rel_yxyx`, in four digits."""
    return [round(float(edge), 4) for edge in box]
