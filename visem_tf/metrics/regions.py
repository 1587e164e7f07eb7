"""Accuracy of the alignment of words and phrases with parts of the image (paper, section 4.1)."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from visem_tf.metrics.resampling import Evidence, ratio

ALIGNMENT_METRICS = ("word_accuracy", "phrase_iou50", "pointing")
"""Names of the metrics of an alignment, all of them in percent."""

_MIN_IOU = 0.5


@dataclass(frozen=True)
class PhraseBoxes:
    """P phrases whose boxes are known.

    Attributes:
        sentence_index: Integer array [P], the sentence of every phrase.
        first: Integer array [P], the first token of the phrase in its sentence.
        last: Integer array [P], the last token, inclusive.
        boxes: Float array [P, 4], `rel_yxyx`.
    """

    sentence_index: np.ndarray
    first: np.ndarray
    last: np.ndarray
    boxes: np.ndarray


class AlignmentHits(NamedTuple):
    """Which of W words and P phrases are aligned correctly; see `alignment_hits`.

    Attributes:
        word: Boolean array [W], for the words of all phrases.
        word_phrase: Integer array [W], the phrase of every word.
        phrase: Boolean array [P], whether the IoU is at least 0.5.
        pointing: Boolean array [P].
        phrase_image: Integer array [P], the image of every phrase.
        chance_overlap: Float array [P], the share of the regions of the image that would be
            correct for a phrase.
        chance_pointing: Float array [P], the same for pointing.
    """

    word: np.ndarray
    word_phrase: np.ndarray
    phrase: np.ndarray
    pointing: np.ndarray
    phrase_image: np.ndarray
    chance_overlap: np.ndarray
    chance_pointing: np.ndarray

    def accuracy(self) -> dict[str, Any]:
        """Computes the metrics of `ALIGNMENT_METRICS` in percent.

        * `word_accuracy`: the share of the words of phrases whose region overlaps the true box of
          the phrase with an IoU of at least 0.5.
        * `phrase_iou50`: the share of phrases whose region does.
        * `pointing`: the pointing game, the share of phrases for which the centre of their region
          lies inside the true box, borders included. Regions that are far too large can succeed
          (the centre of the whole frame lies in every object in the middle), so read it together
          with `phrase_iou50`.

        Returns:
            The metrics, None without phrases; `chance`, their expected values when every word
            picks one of the regions of its image uniformly at random; and the numbers of `words`
            and `phrases`.
        """
        overlap, pointing = self.chance_overlap, self.chance_pointing
        chance = (overlap[self.word_phrase], overlap, pointing)
        return {
            **_percentages(self.word, self.phrase, self.pointing),
            "chance": _percentages(*chance),
            "words": len(self.word),
            "phrases": len(self.phrase),
        }

    def evidence(self, images: int) -> dict[str, Evidence]:
        """Returns the per-image evidence of `ALIGNMENT_METRICS`.

        Args:
            images: Number of images.
        """
        return {
            "word_accuracy": ratio(self.word, self.phrase_image[self.word_phrase], images),
            "phrase_iou50": ratio(self.phrase, self.phrase_image, images),
            "pointing": ratio(self.pointing, self.phrase_image, images),
        }


def box_iou(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Computes the intersection over union of boxes; 0 where both are empty.

    Args:
        boxes: Float array [..., 4], (ymin, xmin, ymax, xmax).
        others: Float array [..., 4]; the leading axes are broadcast.

    Returns:
        Float array [...].

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


def boxes_around(boxes: np.ndarray, phrase: np.ndarray, phrases: int) -> np.ndarray:
    """Returns the box around all boxes of each phrase.

    Args:
        boxes: Float64 array [N, 4], `rel_yxyx`.
        phrase: Integer array [N], the phrase of every box.
        phrases: P, the number of phrases.

    Returns:
        Float64 array [P, 4].
    """
    low, high = np.full([phrases, 2], np.inf), np.full([phrases, 2], -np.inf)
    np.minimum.at(low, phrase, boxes[:, :2])
    np.maximum.at(high, phrase, boxes[:, 2:])
    return np.concatenate([low, high], axis=1)


def alignment_hits(
    regions: np.ndarray,
    region_boxes: np.ndarray,
    image_index: np.ndarray,
    phrases: PhraseBoxes,
    *,
    region_mask: np.ndarray | None = None,
    similarities: np.ndarray | None = None,
) -> AlignmentHits:
    """Compares the regions that words are aligned with to the true boxes of phrases.

    The region of a phrase is the one that most of its words are aligned with. Of several such
    regions it is the one with the largest sum of similarities to these words, and without
    `similarities` the first one. A word without a region (-1, or cut off) is wrong, and so is a
    phrase without any.

    Args:
        regions: Integer array [S, T], the region of every token, -1 in the padding.
        region_boxes: Float array [I, R, 4], `rel_yxyx`.
        image_index: Integer array [S], the image of every sentence.
        phrases: P phrases with their boxes. A phrase with several boxes is several phrases.
        region_mask: Boolean array [I, R], True for real regions; by default all are real.
        similarities: Float array [S, T], of every token with its region.

    Returns:
        Which words and phrases are aligned correctly.

    Example:
        >>> phrases = PhraseBoxes(
        ...     sentence_index=np.array([0]), first=np.array([1]), last=np.array([2]),
        ...     boxes=np.array([[0.0, 0.0, 0.5, 0.5]]))
        >>> region_boxes = np.array([[[0, 0, 1, 1], [0.0, 0.1, 0.5, 0.6]]])
        >>> hits = alignment_hits(np.array([[0, 1, 1, 0]]), region_boxes, np.array([0]), phrases)
        >>> hits.accuracy()["word_accuracy"], hits.accuracy()["chance"]["word_accuracy"]
        (100.0, 50.0)
    """
    regions, region_boxes = np.asarray(regions), np.asarray(region_boxes)
    if region_mask is None:
        region_mask = np.ones(region_boxes.shape[:2], bool)
    if similarities is None:
        similarities = np.zeros(regions.shape)
    image = np.asarray(image_index)[phrases.sentence_index]  # [P]
    candidates, real = region_boxes[image], np.asarray(region_mask)[image]  # [P, R, 4], [P, R]
    true_boxes = np.reshape(phrases.boxes, [-1, 1, 4])
    overlaps = box_iou(candidates, true_boxes) >= _MIN_IOU  # [P, R]
    contains_centre = _contains_centre(true_boxes, candidates)  # [P, R]

    phrase, region, similarity = _words_of_phrases(regions, similarities, phrases)  # each [W]
    aligned = region >= 0
    votes = np.zeros(real.shape, np.int64)
    np.add.at(votes, (phrase[aligned], region[aligned]), 1)
    support = np.zeros(real.shape)
    np.add.at(support, (phrase[aligned], region[aligned]), similarity[aligned])
    most = votes == votes.max(axis=1, keepdims=True)
    winner = np.argmax(np.where(most, support, -np.inf), axis=1)  # [P]
    has_region = votes.any(axis=1)
    rows = np.arange(len(image))
    return AlignmentHits(
        aligned & overlaps[phrase, np.maximum(region, 0)],
        phrase,
        has_region & overlaps[rows, winner],
        has_region & contains_centre[rows, winner],
        image,
        # At random all regions are equally likely to win the vote, as for a single word.
        _share(overlaps, real),
        _share(contains_centre, real),
    )


def _words_of_phrases(
    regions: np.ndarray, similarities: np.ndarray, phrases: PhraseBoxes
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the phrase, the region (or -1) and the similarity of every word of all phrases."""
    lengths = phrases.last - phrases.first + 1
    phrase = np.repeat(np.arange(len(lengths)), lengths)
    offset = np.arange(len(phrase)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    token = phrases.first[phrase] + offset
    sentence = phrases.sentence_index[phrase]
    exists = token < regions.shape[1]  # sentences may have been cut
    token = np.where(exists, token, 0)
    region = np.where(exists, regions[sentence, token], -1)
    return phrase, region, np.asarray(similarities)[sentence, token]


def _contains_centre(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Returns whether `boxes` contain the centres of `others`, bool [...]."""
    centre = (others[..., :2] + others[..., 2:]) / 2
    return np.all((centre >= boxes[..., :2]) & (centre <= boxes[..., 2:]), axis=-1)


def _area(boxes: np.ndarray) -> np.ndarray:
    return np.prod(np.maximum(boxes[..., 2:] - boxes[..., :2], 0), axis=-1)


def _share(hits: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Returns the share of the real regions that are hits, [P]."""
    return np.sum(hits & real, axis=1) / np.maximum(real.sum(axis=1), 1)


def _percentages(*hits: np.ndarray) -> dict[str, float | None]:
    """Returns the means of the hits in percent, by the names of `ALIGNMENT_METRICS`."""
    values = (100.0 * float(np.mean(found)) if len(found) else None for found in hits)
    return dict(zip(ALIGNMENT_METRICS, values, strict=True))
