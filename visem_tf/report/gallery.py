"""Single images in the report: which images, which boxes, and the words of each box."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from visem_tf.alignment.segments import find_segments
from visem_tf.report.descriptions import best_regions
from visem_tf.report.drawing import COLOURS, Edges, as_edges, place_in_words
from visem_tf.report.marked_phrases import MarkedPhrase

GROUPS = ("best", "random", "worst")
"""Images whose own sentence ranks first, random images, and images whose sentence ranks last."""

_DESCRIBED_BOXES = 4
_NAMED_REGIONS = 3
_CORNERS = ("top-left", "top-right", "bottom-right", "bottom-left")


@dataclass(frozen=True)
class Box:
    """A box that is drawn on an image.

    Attributes:
        number: Number from 1 within an image; it is shown on the box and on its snippets.
        box: (ymin, xmin, ymax, xmax), relative to the image.
        corner: "top-left", "top-right", "bottom-right" or "bottom-left": the place of the number.
            Boxes with a common corner have their numbers in different places.
        description: Text of the region-level generator; None without one.
    """

    number: int
    box: Edges
    corner: str
    description: str | None

    @property
    def colour(self) -> str:
        """Colour of the box; colours repeat after `COLOURS`."""
        return COLOURS[(self.number - 1) % len(COLOURS)]

    @property
    def place(self) -> str:
        """Place of the box, in words.

        Example:
            >>> Box(1, (0.0, 0.0, 0.5, 0.2), "top-left", None).place
            'top left, 10 % of the image'
        """
        return place_in_words(self.box)


@dataclass(frozen=True)
class Word:
    """A word of a sentence.

    Attributes:
        text: The word.
        scores: Scores v_i . s_t of the word with every box that is drawn, by number; empty if
            unknown.
    """

    text: str
    scores: tuple[float, ...] = ()


@dataclass(frozen=True)
class Snippet:
    """Consecutive words of a sentence that are aligned with one box."""

    words: tuple[Word, ...]
    box: Box

    @property
    def text(self) -> str:
        """The words, joined by blanks."""
        return " ".join(word.text for word in self.words)


@dataclass(frozen=True)
class AlignedSentence:
    """A sentence cut into snippets.

    Attributes:
        snippets: Snippets in the order of the sentence.
        rank: Rank of the image of the sentence among all images, from 1.
    """

    snippets: list[Snippet]
    rank: int


@dataclass(frozen=True)
class AttendedWord:
    """A generated word, with what the generator attended to.

    Attributes:
        text: The word.
        weights: Attention weights of the R regions, in percent.
        spoken: The regions with the largest weights in words, for a screen reader.
    """

    text: str
    weights: tuple[int, ...]
    spoken: str


@dataclass(frozen=True)
class AttendedCaption:
    """A generated sentence, with what the generator attended to.

    Attributes:
        boxes: Boxes of the R regions, (ymin, xmin, ymax, xmax) in percent of the image.
        words: Words of the sentence.
    """

    boxes: list[tuple[float, ...]]
    words: list[AttendedWord]


@dataclass(frozen=True)
class GalleryImage:
    """An image of the gallery with its texts.

    Attributes:
        file_name: File name in the data set.
        group: One of `GROUPS`.
        rank: Rank of its best sentence among all sentences, from 1; None without an alignment.
        jpeg: The image, reduced in size.
        size: Width and height of `jpeg`.
        boxes: Boxes by number.
        sentences: Aligned sentences.
        caption: Caption generated from the whole frame; None if there is none.
        references: All sentences that people wrote.
        attended: The words of the caption with what the generator attended to; None if it does
            not attend to regions.
        phrases: Phrases of these sentences whose boxes people drew.
    """

    file_name: str
    group: str
    rank: int | None
    jpeg: bytes
    size: tuple[int, int]
    boxes: list[Box]
    sentences: list[AlignedSentence]
    caption: str | None
    references: list[str]
    attended: AttendedCaption | None = None
    phrases: Sequence[MarkedPhrase] = ()


def choose_images(ranks: np.ndarray, count: int, seed: int) -> list[tuple[int, str]]:
    """Chooses images, a third for each of `GROUPS`, none twice.

    Args:
        ranks: Integer array [I], the rank of the best sentence of every image.
        count: Number of images to choose; fewer if there are fewer.
        seed: Seed of the order of equal ranks, and of the random third.

    Returns:
        Positions with their groups, in the order of `GROUPS`; the worst image is last.

    Example:
        >>> choose_images(np.array([5, 1, 9]), 3, seed=0)
        [(1, 'best'), (0, 'random'), (2, 'worst')]
    """
    shuffled = np.random.default_rng(seed).permutation(len(ranks))
    ordered = shuffled[np.argsort(ranks[shuffled], kind="stable")]
    count = min(count, len(ranks))
    best, worst = -(-count // len(GROUPS)), count // len(GROUPS)
    between = ordered[best : len(ordered) - worst]
    middle = shuffled[np.isin(shuffled, between)][: count - best - worst]
    thirds = (ordered[:best], middle, ordered[len(ordered) - worst :])
    return [
        (position, group)
        for group, third in zip(GROUPS, thirds, strict=True)
        for position in third.tolist()
    ]


def align_image(
    tokens: Sequence[Sequence[str]],
    word_regions: np.ndarray,
    sentence_ranks: Sequence[int],
    region_boxes: np.ndarray,
    descriptions: Sequence[str] | None = None,
    quality: np.ndarray | None = None,
    similarities: np.ndarray | None = None,
) -> tuple[list[Box], list[AlignedSentence]]:
    """Numbers the boxes of an image and cuts its sentences into snippets.

    Boxes are numbered in the order in which the sentences refer to them. If there are descriptions
    of regions and the sentences refer to few boxes, those with the best descriptions are added.

    Args:
        tokens: Words of N sentences.
        word_regions: Integer array [N, T], the region of every word, -1 in the padding.
        sentence_ranks: N ranks of the image for the sentences.
        region_boxes: Float array [R, 4], `rel_yxyx`; row 0 is the whole frame.
        descriptions: R texts; None if regions were not described.
        quality: Float array [R], how good each description is; see `best_regions`.
        similarities: Float array [N, T, R], v_i . s_t; None if unknown.

    Returns:
        Boxes and sentences.
    """
    sentence, first, last, region = find_segments(word_regions)
    shown = list(dict.fromkeys(region.tolist()))
    if descriptions is not None and quality is not None:
        texts = {descriptions[position] for position in shown}
        new = [n for n in best_regions(descriptions, quality) if descriptions[n] not in texts]
        shown += new[: max(0, _DESCRIBED_BOXES - len(shown))]
    boxes: list[Box] = []
    for number, position in enumerate(shown, start=1):
        edges = as_edges(region_boxes[position])
        text = None if descriptions is None else descriptions[position]
        boxes.append(Box(number, edges, _free_corner(edges, boxes), text))
    by_region = dict(zip(shown, boxes, strict=True))
    scores = np.zeros([*word_regions.shape, 0])
    if similarities is not None:
        scores = similarities[:, :, shown]
    sentences = []
    for row, (texts_of_words, rank) in enumerate(zip(tokens, sentence_ranks, strict=True)):
        words = [
            Word(text, tuple(round(score, 2) for score in scores[row, place].tolist()))
            for place, text in enumerate(texts_of_words)
        ]
        snippets = [
            Snippet(tuple(words[first[n] : last[n] + 1]), by_region[int(region[n])])
            for n in np.flatnonzero(sentence == row)
        ]
        sentences.append(AlignedSentence(snippets, rank))
    return boxes, sentences


def attended_caption(caption: str, attention: np.ndarray, boxes: np.ndarray) -> AttendedCaption:
    """Prepares a caption and its attention weights for the page.

    Args:
        caption: Text of W words.
        attention: Float array [W, R]; the weights of a word sum to 1.
        boxes: Float array [R, 4], `rel_yxyx`.

    Example:
        >>> boxes = np.array([[0, 0, 1, 1], [0, 0, 0.5, 0.5]])
        >>> attended_caption("dog", np.array([[0.3, 0.7]]), boxes).words[0].spoken
        '70 % top left, 25 % of the image; 30 % the whole image'
    """
    words = []
    for text, weights in zip(caption.split(), attention, strict=True):
        largest = np.argsort(-weights, kind="stable")[:_NAMED_REGIONS]
        spoken = "; ".join(f"{100 * weights[i]:.0f} % {place_in_words(boxes[i])}" for i in largest)
        percent = tuple(round(100 * weight) for weight in weights.tolist())
        words.append(AttendedWord(text, percent, spoken))
    edges = [tuple(round(100 * edge, 1) for edge in as_edges(box)) for box in boxes]
    return AttendedCaption(edges, words)


def _free_corner(edges: Edges, others: Sequence[Box]) -> str:
    """Returns the corner farthest from the numbers of other boxes; the first of good ones."""
    taken = [_corner_point(other.box, other.corner) for other in others]

    def room(corner: str) -> float:
        y, x = _corner_point(edges, corner)
        nearest = min((max(abs(y - v), abs(x - u)) for v, u in taken), default=1.0)
        return min(nearest, 0.15)

    return max(_CORNERS, key=room)


def _corner_point(edges: Edges, corner: str) -> tuple[float, float]:
    top, left, bottom, right = edges
    return top if "top" in corner else bottom, left if "left" in corner else right
