"""Phrases of the gallery whose boxes people drew: our box and point beside theirs."""

from dataclasses import dataclass

import numpy as np

from visem_tf.alignment.phrases import PhraseGrounding
from visem_tf.metrics.grounding import TruePhrases
from visem_tf.metrics.regions import box_iou

Percent = tuple[float, ...]
"""Edges of a box, (ymin, xmin, ymax, xmax), or a point (y, x), in percent of the image."""


@dataclass(frozen=True)
class MarkedPhrase:
    """A phrase with the boxes that people drew for it.

    Attributes:
        text: Words of the phrase.
        kind: What it names, such as "people"; empty if unknown.
        ours: The box that was found.
        point: The point that was found.
        theirs: Boxes of people, one a thing.
        overlap: IoU of our box with the box around theirs, in percent.
        points_right: Whether the point lies in one of their boxes.
    """

    text: str
    kind: str
    ours: Percent
    point: Percent
    theirs: tuple[Percent, ...]
    overlap: float
    points_right: bool

    @property
    def verdict(self) -> str:
        """Overlap of the box, and whether the point is right, in words.

        Example:
            >>> MarkedPhrase("a dog", "animals", (0, 0, 50, 50), (25, 25), (), 62.4, True).verdict
            'overlap 62 %, the point is right'
        """
        point = "right" if self.points_right else "wrong"
        return f"overlap {self.overlap:.0f} %, the point is {point}"


def mark_phrases(truth: TruePhrases, found: PhraseGrounding) -> list[MarkedPhrase]:
    """Puts what was found beside what people drew.

    Args:
        truth: P phrases and the boxes of people.
        found: Boxes and points, as NumPy arrays.
    """
    overlaps, right = box_iou(found.boxes, truth.around), truth.holds(found.points)
    return [
        MarkedPhrase(
            text,
            truth.types[row].replace("/", ", "),
            _percent(found.boxes[row]),
            _percent(found.points[row]),
            tuple(_percent(box) for box in truth.boxes[truth.phrase == row]),
            100.0 * float(overlaps[row]),
            bool(right[row]),
        )
        for row, text in enumerate(truth.texts)
    ]


def _percent(edges: np.ndarray) -> Percent:
    return tuple(round(100 * float(edge), 1) for edge in edges)
