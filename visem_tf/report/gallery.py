"""What the report shows of single pictures: which ones, which of their boxes, which snippets."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from visem_tf.alignment.mrf import find_segments
from visem_tf.report.attention import LookedCaption
from visem_tf.report.drawing import COLOURS, place_in_words

GROUPS = ("best", "random", "worst")
"""Pictures whose own sentence ranks first, any pictures, and those where it ranks last."""

_DESCRIBED_BOXES = 4
_FUNCTION_WORDS = {
    *("a", "an", "the", "its", "his", "her", "their", "and", "or", "is", "are", "of", "in", "on"),
    *("at", "by", "to", "into", "onto", "with", "through", "from"),
}
_CORNERS = ("top-left", "top-right", "bottom-right", "bottom-left")


@dataclass(frozen=True)
class Box:
    """A box that is drawn.

    Attributes:
      number: Counts from 1 within a picture; stands on the box and on its snippets.
      box: (ymin, xmin, ymax, xmax), relative to the picture.
      corner: One of "top-left", "top-right", "bottom-right", "bottom-left": where the number
        stands, so that numbers of boxes that share a corner do not hide each other.
      description: What the region-level generator says of it; None if it was not asked.
    """

    number: int
    box: tuple[float, float, float, float]
    corner: str
    description: str | None

    @property
    def colour(self) -> str:
        """Repeats after `COLOURS`; the number does not."""
        return COLOURS[(self.number - 1) % len(COLOURS)]

    @property
    def place(self) -> str:
        """Where the box lies, in words.

        Example:
          >>> Box(1, (0.0, 0.0, 0.5, 0.2), "top-left", None).place
          'top left, 10 % of the picture'
        """
        return place_in_words(self.box)


@dataclass(frozen=True)
class Word:
    """A word of a sentence.

    Attributes:
      text: The word.
      scores: Its score v_i . s_t with every box that is drawn, by number; empty if not known.
    """

    text: str
    scores: tuple[float, ...] = ()


@dataclass(frozen=True)
class Snippet:
    """Words of a sentence that follow each other and belong to one box."""

    words: tuple[Word, ...]
    box: Box

    @property
    def text(self) -> str:
        """The words."""
        return " ".join(word.text for word in self.words)


@dataclass(frozen=True)
class AlignedSentence:
    """A sentence cut into snippets.

    Attributes:
      snippets: In the order of the sentence.
      rank: Of its own picture among all pictures, 1 is the first.
    """

    snippets: list[Snippet]
    rank: int


@dataclass(frozen=True)
class GalleryPicture:
    """A picture with all that is said of it.

    Attributes:
      file_name: As the data set has it.
      group: One of `GROUPS`.
      rank: Of its own best sentence among all sentences, 1 is the first.
      jpeg: The picture, small.
      size: Width and height of `jpeg`.
      boxes: By number.
      sentences: Aligned ones.
      caption: Generated from the whole frame; None if there is none.
      references: All sentences that people wrote.
      looked: The words of the caption with what the generator looked at; None where it does not
        look at regions.
    """

    file_name: str
    group: str
    rank: int
    jpeg: bytes
    size: tuple[int, int]
    boxes: list[Box]
    sentences: list[AlignedSentence]
    caption: str | None
    references: list[str]
    looked: LookedCaption | None = None


def choose_pictures(ranks: np.ndarray, count: int, seed: int) -> list[tuple[int, str]]:
    """Chooses a third each by `GROUPS`, none twice.

    Args:
      ranks: int [I], of every picture's own best sentence.
      count: How many to choose in all; fewer if there are fewer.
      seed: Decides between equal ranks, and the random third.

    Returns:
      Positions with their groups, in the order of `GROUPS`; the worst one stands last.

    Example:
      >>> choose_pictures(np.array([5, 1, 9]), 3, seed=0)
      [(1, 'best'), (0, 'random'), (2, 'worst')]
    """
    shuffled = np.random.default_rng(seed).permutation(len(ranks))
    ordered = shuffled[np.argsort(ranks[shuffled], kind="stable")]
    count = min(count, len(ranks))
    worst = count // len(GROUPS)
    best = -(-count // len(GROUPS))
    between = ordered[best : len(ordered) - worst]
    among = set(between.tolist())
    middle = [position for position in shuffled.tolist() if position in among]
    return [
        *((int(position), "best") for position in ordered[:best]),
        *((position, "random") for position in middle[: count - best - worst]),
        *((int(position), "worst") for position in ordered[len(ordered) - worst :]),
    ]


def align_picture(
    tokens: Sequence[Sequence[str]],
    word_regions: np.ndarray,
    sentence_ranks: Sequence[int],
    region_boxes: np.ndarray,
    descriptions: Sequence[str] | None = None,
    worth: np.ndarray | None = None,
    similarities: np.ndarray | None = None,
) -> tuple[list[Box], list[AlignedSentence]]:
    """Numbers the boxes of a picture and cuts its sentences into snippets.

    Boxes come in the order in which the sentences name them. Where regions were described and the
    sentences name few boxes, those with the best descriptions are added, each text once.

    Args:
      tokens: The words of N sentences.
      word_regions: int [N, T], the region of every word, -1 in the padding.
      sentence_ranks: N ranks of the picture for the sentences.
      region_boxes: float [R, 4], `rel_yxyx`; row 0 is the whole frame.
      descriptions: R texts; None if regions were not described.
      worth: float [R], by which descriptions are chosen, the higher the better; minus infinity
        for padded regions.
      similarities: float [N, T, R], v_i . s_t; None if words shall have no scores.

    Returns:
      The boxes and the sentences.
    """
    sentence, first, last, region = find_segments(word_regions)
    shown = list(dict.fromkeys(region.tolist()))
    if descriptions is not None and worth is not None:
        shown = _with_best(shown, descriptions, worth)
    boxes: list[Box] = []
    for number, position in enumerate(shown, start=1):
        top, left, bottom, right = (float(edge) for edge in region_boxes[position])
        edges = (top, left, bottom, right)
        text = None if descriptions is None else descriptions[position]
        boxes.append(Box(number, edges, _free_corner(edges, boxes), text))
    by_region = dict(zip(shown, boxes, strict=True))
    sentences = []
    for row, words in enumerate(tokens):
        scored = [
            Word(
                text,
                ()
                if similarities is None
                else tuple(round(float(score), 2) for score in similarities[row, place, shown]),
            )
            for place, text in enumerate(words)
        ]
        snippets = [
            Snippet(tuple(scored[first[n] : last[n] + 1]), by_region[int(region[n])])
            for n in np.flatnonzero(sentence == row)
        ]
        sentences.append(AlignedSentence(snippets, int(sentence_ranks[row])))
    return boxes, sentences


def is_telling(text: str) -> bool:
    """Whether a description says something: more than "a", "in the" and the like.

    Example:
      >>> is_telling("on the"), is_telling("a dog"), is_telling("")
      (False, True, False)
    """
    return bool(set(text.split()) - _FUNCTION_WORDS)


def _with_best(shown: list[int], descriptions: Sequence[str], worth: np.ndarray) -> list[int]:
    texts = {descriptions[region] for region in shown}
    shown = list(shown)
    for region in np.argsort(-worth, kind="stable").tolist():
        if len(shown) >= _DESCRIBED_BOXES:
            break
        text = descriptions[region]
        new = region > 0 and text not in texts and is_telling(text)
        if new and region not in shown and np.isfinite(worth[region]):
            shown.append(region)
            texts.add(text)
    return shown


def _free_corner(edges: tuple[float, float, float, float], others: Sequence[Box]) -> str:
    """The corner that is farthest from the numbers of other boxes; the first of good ones."""
    taken = [_corner_point(other.box, other.corner) for other in others]

    def room(corner: str) -> float:
        y, x = _corner_point(edges, corner)
        nearest = min((max(abs(y - v), abs(x - u)) for v, u in taken), default=1.0)
        return min(nearest, 0.15)

    return max(_CORNERS, key=room)


def _corner_point(edges: tuple[float, float, float, float], corner: str) -> tuple[float, float]:
    top, left, bottom, right = edges
    return top if "top" in corner else bottom, left if "left" in corner else right
