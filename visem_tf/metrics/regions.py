"""How often words and phrases were aligned with the right part of the picture."""

from typing import Any, NamedTuple, Protocol

import numpy as np

from visem_tf.metrics.evidence import Evidence, ratio

ALIGNMENT_FIGURES = ("word_accuracy", "phrase_iou50", "pointing")
"""What is counted of an alignment, all in percent."""

_ENOUGH_OVERLAP = 0.5


class PhraseBoxes(Protocol):
    """P phrases whose boxes are known, such as `visem_tf.datasets.caption_dataset.Phrases`."""

    @property
    def sentence_index(self) -> np.ndarray:
        """int [P]."""

    @property
    def first(self) -> np.ndarray:
        """int [P], first token of the phrase in its sentence."""

    @property
    def last(self) -> np.ndarray:
        """int [P], last token, inclusive."""

    @property
    def boxes(self) -> np.ndarray:
        """float [P, 4], rel_yxyx."""


def box_iou(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes (ymin, xmin, ymax, xmax); 0 where both are empty.

    Args:
      boxes: float [..., 4].
      others: float [..., 4]; the leading axes broadcast.

    Example:
        >>> float(box_iou(np.array([0, 0, 1, 1]), np.array([0, 0, 0.5, 1])))
        0.5
    """
    boxes, others = np.asarray(boxes, np.float64), np.asarray(others, np.float64)
    low = np.maximum(boxes[..., :2], others[..., :2])
    high = np.minimum(boxes[..., 2:], others[..., 2:])
    intersection = np.prod(np.maximum(high - low, 0), axis=-1)
    union = _area(boxes) + _area(others) - intersection
    return np.divide(intersection, union, out=np.zeros_like(union), where=union > 0)


def alignment_accuracy(
    regions: np.ndarray,
    region_boxes: np.ndarray,
    image_index: np.ndarray,
    phrases: PhraseBoxes,
    *,
    region_mask: np.ndarray | None = None,
    similarities: np.ndarray | None = None,
) -> dict[str, Any]:
    """Compares the regions that words were aligned with against the true boxes of phrases.

    The region of a phrase is the one that most of its words chose; among equals the one with the
    larger sum of similarities to these words, and without `similarities` the first one.

    * `word_accuracy`: share of the words of phrases whose region overlaps the true box of the
      phrase with an IoU of at least 0.5.
    * `phrase_iou50`: share of phrases whose region does.
    * `pointing`: the pointing game: share of phrases for which the centre of their region lies
      inside the true box, borders included. Regions that are far too large can win it (the centre
      of the whole frame lies in any object in the middle), so read it beside `phrase_iou50`.

    A word without a region (-1, or cut off) is wrong, and so is a phrase without any.

    Args:
      regions: int [S, T], the region of every token, -1 in the padding.
      region_boxes: float [I, R, 4], rel_yxyx.
      image_index: int [S], the picture that each sentence describes.
      phrases: P phrases with their boxes. A phrase with several boxes is several phrases.
      region_mask: bool [I, R], which regions are real; all by default.
      similarities: float [S, T], of every token with its region.

    Returns:
      `word_accuracy`, `phrase_iou50` and `pointing` in percent; `chance`, what the same figures
      are expected to be when every word picks one of the regions of its picture at random, all
      alike; and the numbers of `words` and `phrases`. Figures are None where there are no phrases.

    Raises:
      ValueError: if a shape does not fit, or an index points at nothing.

    Example:
        >>> import types
        >>> phrases = types.SimpleNamespace(
        ...     sentence_index=np.array([0]), first=np.array([1]), last=np.array([2]),
        ...     boxes=np.array([[0.0, 0.0, 0.5, 0.5]]))
        >>> region_boxes = np.array([[[0, 0, 1, 1], [0.0, 0.1, 0.5, 0.6]]])
        >>> figures = alignment_accuracy(
        ...     np.array([[0, 1, 1, 0]]), region_boxes, np.array([0]), phrases)
        >>> figures["word_accuracy"], figures["chance"]["word_accuracy"]
        (100.0, 50.0)
    """
    hits = alignment_hits(
        regions,
        region_boxes,
        image_index,
        phrases,
        region_mask=region_mask,
        similarities=similarities,
    )
    if not len(hits.phrase_image):
        nothing = dict.fromkeys(ALIGNMENT_FIGURES)
        return {**nothing, "chance": dict(nothing), "words": 0, "phrases": 0}
    return {
        "word_accuracy": _percent(hits.word),
        "phrase_iou50": _percent(hits.phrase),
        "pointing": _percent(hits.pointing),
        "chance": {
            "word_accuracy": _percent(hits.chance_overlap[hits.word_phrase]),
            "phrase_iou50": _percent(hits.chance_overlap),
            "pointing": _percent(hits.chance_pointing),
        },
        "words": len(hits.word),
        "phrases": len(hits.phrase),
    }


class AlignmentHits(NamedTuple):
    """Which of W words and P phrases were aligned rightly; see `alignment_accuracy`.

    Attributes:
      word: bool [W], all words of all phrases in a row.
      word_phrase: int [W], the phrase of every word.
      phrase: bool [P], IoU of at least 0.5.
      pointing: bool [P].
      phrase_image: int [P], the picture of every phrase.
      chance_overlap: float [P], share of the picture's regions that would be right for a phrase.
      chance_pointing: float [P], the same of pointing.
    """

    word: np.ndarray
    word_phrase: np.ndarray
    phrase: np.ndarray
    pointing: np.ndarray
    phrase_image: np.ndarray
    chance_overlap: np.ndarray
    chance_pointing: np.ndarray

    def evidence(self, images: int) -> dict[str, Evidence]:
        """What the three figures rest on, picture by picture.

        Args:
          images: I.
        """
        return {
            "word_accuracy": ratio(self.word, self.phrase_image[self.word_phrase], images),
            "phrase_iou50": ratio(self.phrase, self.phrase_image, images),
            "pointing": ratio(self.pointing, self.phrase_image, images),
        }


def alignment_hits(
    regions: np.ndarray,
    region_boxes: np.ndarray,
    image_index: np.ndarray,
    phrases: PhraseBoxes,
    *,
    region_mask: np.ndarray | None = None,
    similarities: np.ndarray | None = None,
) -> AlignmentHits:
    """What `alignment_accuracy` counts, for the same arguments.

    Raises:
      ValueError: if a shape does not fit, or an index points at nothing.
    """
    regions, region_boxes = np.asarray(regions), np.asarray(region_boxes)
    if region_mask is None:
        region_mask = np.ones(region_boxes.shape[:2], bool)
    if similarities is None:
        similarities = np.zeros(regions.shape)
    _check(regions, region_boxes, image_index, phrases, region_mask, similarities)
    phrase_count, region_count = len(phrases.boxes), region_boxes.shape[1]
    if phrase_count == 0:
        none, nowhere = np.zeros(0, bool), np.zeros(0, np.int64)
        return AlignmentHits(none, nowhere, none, none, nowhere, np.zeros(0), np.zeros(0))

    image = np.asarray(image_index)[phrases.sentence_index]  # [P]
    candidates, real = region_boxes[image], np.asarray(region_mask)[image]  # [P, R, 4], [P, R]
    overlaps = box_iou(candidates, phrases.boxes[:, np.newaxis]) >= _ENOUGH_OVERLAP  # [P, R]
    contains_centre = _contains_centre(phrases.boxes[:, np.newaxis], candidates)  # [P, R]

    phrase, region, similarity = _chosen(regions, similarities, phrases)  # each [W], all words
    chose = region >= 0
    word_hits = chose & overlaps[phrase, np.maximum(region, 0)]

    votes = np.zeros([phrase_count, region_count], np.int64)
    np.add.at(votes, (phrase[chose], region[chose]), 1)
    support = np.zeros([phrase_count, region_count])
    np.add.at(support, (phrase[chose], region[chose]), similarity[chose])
    most = votes == votes.max(axis=1, keepdims=True)
    winner = np.argmax(np.where(most, support, -np.inf), axis=1)  # [P]
    has_region = votes.any(axis=1)
    rows = np.arange(phrase_count)

    return AlignmentHits(
        word_hits,
        phrase,
        has_region & overlaps[rows, winner],
        has_region & contains_centre[rows, winner],
        image,
        # Regions are alike by chance, so the winner of a vote is any of them, like a single choice.
        _share(overlaps, real),
        _share(contains_centre, real),
    )


def _chosen(
    regions: np.ndarray, similarities: np.ndarray, phrases: PhraseBoxes
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All words of all phrases in a row: number of the phrase, region (or -1), similarity."""
    lengths = phrases.last - phrases.first + 1
    phrase = np.repeat(np.arange(len(lengths)), lengths)
    offset = np.arange(len(phrase)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    token = phrases.first[phrase] + offset
    sentence = phrases.sentence_index[phrase]
    there = token < regions.shape[1]  # sentences may have been cut
    token = np.where(there, token, 0)
    return (
        phrase,
        np.where(there, regions[sentence, token], -1),
        np.asarray(similarities)[sentence, token],
    )


def _contains_centre(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Whether `boxes` contain the centres of `others`, bool [...]."""
    centre = (others[..., :2] + others[..., 2:]) / 2
    return np.all((centre >= boxes[..., :2]) & (centre <= boxes[..., 2:]), axis=-1)


def _area(boxes: np.ndarray) -> np.ndarray:
    return np.prod(np.maximum(boxes[..., 2:] - boxes[..., :2], 0), axis=-1)


def _share(hits: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Share of the real regions that hit, [P]."""
    return np.sum(hits & real, axis=1) / np.maximum(real.sum(axis=1), 1)


def _percent(hits: np.ndarray) -> float:
    return 100.0 * float(np.mean(hits))


def _check(
    regions: np.ndarray,
    region_boxes: np.ndarray,
    image_index: np.ndarray,
    phrases: PhraseBoxes,
    region_mask: np.ndarray,
    similarities: np.ndarray,
) -> None:
    if region_boxes.ndim != 3 or region_boxes.shape[-1] != 4:
        raise ValueError(f"region_boxes must be [I, R, 4], got shape {region_boxes.shape}")
    if regions.ndim != 2 or not np.issubdtype(regions.dtype, np.integer):
        raise ValueError(f"regions must be int [S, T], got {regions.dtype} {regions.shape}")
    count = len(phrases.boxes)
    for name, shape, expected in (
        ("image_index", np.shape(image_index), regions.shape[:1]),
        ("region_mask", np.shape(region_mask), region_boxes.shape[:2]),
        ("similarities", np.shape(similarities), regions.shape),
        ("phrases.sentence_index", np.shape(phrases.sentence_index), (count,)),
        ("phrases.first", np.shape(phrases.first), (count,)),
        ("phrases.last", np.shape(phrases.last), (count,)),
    ):
        if shape != expected:
            raise ValueError(f"{name} must have shape {expected}, got {shape}")
    if regions.size and regions.max() >= region_boxes.shape[1]:
        raise ValueError(
            f"regions must be below {region_boxes.shape[1]}, the number of region_boxes, "
            f"got {regions.max()}"
        )
    if count and (np.min(phrases.first) < 0 or np.any(phrases.last < phrases.first)):
        raise ValueError("phrases must have 0 <= first <= last")
