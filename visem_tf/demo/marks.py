"""Boxes over the image of the demo, as SVG whose texts are escaped."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import jinja2
import numpy as np

from visem_tf.report.drawing import COLOURS, Edges, as_edges
from visem_tf.report.page import make_environment


@dataclass(frozen=True)
class Mark:
    """A box to draw over the image.

    Attributes:
        box: Box, `rel_yxyx`.
        colour: Colour of its line.
        label: Text inside the box, at the top left.
        filled: Whether the box is highlighted.
        dashed: Whether the user is still drawing the box.
        opacity: Opacity, 0 to 1.
    """

    box: Edges
    colour: str
    label: str = ""
    filled: bool = False
    dashed: bool = False
    opacity: float = 1.0


def draw_marks(marks: Sequence[Mark], size: tuple[int, int]) -> str:
    """Returns boxes as SVG elements.

    Args:
        marks: Boxes to draw.
        size: Width and height of the image in pixels.
    """
    width, height = size
    return _template().render(marks=marks, width=width, height=height, unit=max(size) / 560)


def attention_marks(word: str, weights: np.ndarray, boxes: np.ndarray) -> list[Mark]:
    """Returns the proposed regions with more than the mean attention of a word.

    Args:
        word: Generated word.
        weights: Attention of the word to each region, float [R], with sum 1.
        boxes: Boxes of the regions, float [R, 4], `rel_yxyx`; the first is the whole frame, which
            is left out.
    """
    mean, most = 1 / len(weights), float(np.max(weights[1:], initial=0))
    marks = []
    for region in np.argsort(weights, kind="stable").tolist():
        if region > 0 and weights[region] > mean:
            share = (weights[region] - mean) / (most - mean)
            label = f"{word} {100 * most:.0f} %" if weights[region] == most else ""
            opacity = round(0.15 + 0.85 * share, 2)
            marks.append(Mark(as_edges(boxes[region]), COLOURS[0], label, True, opacity=opacity))
    return marks


def colour_of(number: int) -> str:
    """Returns the colour of a region by its position."""
    return COLOURS[number % len(COLOURS)]


@functools.cache
def _template() -> jinja2.Template:
    return make_environment().get_template("overlay.svg.j2")
