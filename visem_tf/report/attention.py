"""What a generator looked at for every word that it wrote, as the report shows it."""

from dataclasses import dataclass

import numpy as np

from visem_tf.report.drawing import place_in_words

_NAMED = 3


@dataclass(frozen=True)
class LookedWord:
    """A generated word.

    Attributes:
      text: The word.
      weights: How much it looked at each region, in percent.
      said: The regions that it looked at most, for those who cannot see them.
    """

    text: str
    weights: tuple[int, ...]
    said: str


@dataclass(frozen=True)
class LookedCaption:
    """A generated sentence, with what each of its words looked at.

    Attributes:
      boxes: Of R regions, (ymin, xmin, ymax, xmax) in percent of the picture.
      words: The words.
    """

    boxes: list[tuple[float, ...]]
    words: list[LookedWord]


def looked_caption(caption: str, attention: np.ndarray, boxes: np.ndarray) -> LookedCaption:
    """Prepares a caption for the page.

    Args:
      caption: Of W words.
      attention: float [W, R]; a word's weights sum to 1.
      boxes: float [R, 4], `rel_yxyx`.

    Example:
      >>> boxes = np.array([[0, 0, 1, 1], [0, 0, 0.5, 0.5]])
      >>> looked_caption("dog", np.array([[0.3, 0.7]]), boxes).words[0].said
      '70 % top left, 25 % of the picture; 30 % the whole picture'
    """
    words = []
    for text, weights in zip(caption.split(), attention, strict=True):
        most = np.argsort(-weights, kind="stable")[:_NAMED]
        said = [f"{100 * weights[i]:.0f} % {place_in_words(boxes[i])}" for i in most]
        percent = tuple(round(100 * float(weight)) for weight in weights)
        words.append(LookedWord(text, percent, "; ".join(said)))
    edges = [tuple(round(100 * float(edge), 1) for edge in box) for box in boxes]
    return LookedCaption(edges, words)
