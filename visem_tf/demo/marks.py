"""Boxes over the demo's picture, as SVG whose texts are escaped."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import jinja2

from visem_tf.report.drawing import COLOURS
from visem_tf.report.gallery import AttendedCaption, AttendedWord
from visem_tf.report.page import make_environment

Edges = tuple[float, float, float, float]


@dataclass(frozen=True)
class Mark:
    """A box to draw over the picture.

    Attributes:
      box: `rel_yxyx`.
      colour: Of its line.
      label: Stands inside, at the top left.
      filled: Whether it is the one that is looked at.
      dashed: Whether it is still being drawn.
      opacity: 0 to 1.
    """

    box: Edges
    colour: str
    label: str = ""
    filled: bool = False
    dashed: bool = False
    opacity: float = 1.0


def draw_marks(marks: Sequence[Mark], size: tuple[int, int]) -> str:
    """The boxes as SVG elements; texts are escaped.

    Args:
      marks: What to draw.
      size: Width and height of the picture in pixels.
    """
    width, height = size
    return _template().render(marks=marks, width=width, height=height, unit=max(size) / 560)


def attention_marks(looked: AttendedCaption, word: AttendedWord) -> list[Mark]:
    """Proposed regions that a word looked at more than at the mean one; the frame is left out.

    Args:
      looked: The caption.
      word: One of its words.
    """
    mean, most = 100 / len(word.weights), max([1, *word.weights[1:]])
    marks = []
    pairs = list(zip(looked.boxes, word.weights, strict=True))[1:]
    for percent, weight in sorted(pairs, key=lambda pair: pair[1]):
        if weight > mean:
            top, left, bottom, right = (edge / 100 for edge in percent)
            share = (weight - mean) / (most - mean)
            label = f"{word.text} {weight} %" if weight == most else ""
            opacity = round(0.15 + 0.85 * share, 2)
            box = (top, left, bottom, right)
            marks.append(Mark(box, COLOURS[0], label, filled=True, opacity=opacity))
    return marks


def colour_of(number: int) -> str:
    """The colour of a region, by its position."""
    return COLOURS[number % len(COLOURS)]


@functools.cache
def _template() -> jinja2.Template:
    return make_environment().get_template("overlay.svg.j2")
