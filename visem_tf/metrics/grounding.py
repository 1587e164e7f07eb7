"""Phrase grounding: how often the box and the point of a phrase are right.

The protocol of Flickr30k Entities (Plummer et al., IJCV 2017; Rohrbach et al., ECCV 2016): a phrase
of several things has one box around all of theirs, which must be met with an IoU of at least 0.5;
a point must lie in the box of any of them (the pointing game of Zhang et al., ECCV 2016).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from visem_tf.datasets.caption_dataset import Phrases
from visem_tf.metrics.proposals import best_overlaps
from visem_tf.metrics.regions import box_iou, boxes_around
from visem_tf.metrics.resampling import Evidence, ratio

RECALLS = {"r1": 1, "r5": 5, "r10": 10}
"""Names of the recalls, and how many of the best regions they look at."""

PROPOSALS = (10, 20, 50)
"""Numbers of first regions, including the frame, for the recall of the proposals."""

_MIN_IOU = 0.5
_CENTRE = np.array([0.5, 0.5])
_FRAME = np.array([0.0, 0.0, 1.0, 1.0])


class TruePhrases(NamedTuple):
    """P phrases, with the boxes of the things they name.

    Attributes:
        sentence_index: Integer array [P], the sentence of every phrase.
        first: Integer array [P], the first token of the phrase in its sentence.
        last: Integer array [P], the last token, inclusive.
        around: Float array [P, 4], the box around all boxes of the phrase, `rel_yxyx`.
        boxes: Float array [B, 4], the boxes of all phrases.
        phrase: Integer array [B], the phrase of every box.
        types: List of P strings, such as "people" or "vehicles/scene"; empty where unknown.
        texts: List of P strings, the words of every phrase.
    """

    sentence_index: np.ndarray
    first: np.ndarray
    last: np.ndarray
    around: np.ndarray
    boxes: np.ndarray
    phrase: np.ndarray
    types: list[str]
    texts: list[str]

    def holds(self, points: np.ndarray) -> np.ndarray:
        """Returns whether any box of each phrase contains its point.

        Args:
            points: Float array [P, 2], (y, x); [2] for the same point in all images.
        """
        own = np.broadcast_to(points, [len(self.first), 2])[self.phrase]
        inside = np.all((own >= self.boxes[:, :2]) & (own <= self.boxes[:, 2:]), axis=1)
        hits = np.bincount(self.phrase, inside, len(self.first))
        return np.asarray(hits > 0)

    def covered(self) -> np.ndarray:
        """Returns the share of the image that the boxes of each phrase cover, float [P].

        This is the chance of a random point.
        """
        count = np.bincount(self.phrase, minlength=len(self.first))
        rank = np.arange(len(self.phrase)) - (np.cumsum(count) - count)[self.phrase]
        padded = np.zeros([len(self.first), max(count.max(initial=0), 1), 4])
        padded[self.phrase, rank] = np.clip(self.boxes, 0, 1)
        low, high = padded[..., :2], padded[..., 2:]  # [P, K, 2]
        edges = np.sort(np.concatenate([low, high], axis=1), axis=1)  # [P, 2 K, 2]
        area = np.zeros(len(self.first))
        spans = np.diff(edges, axis=1)
        middle = edges[:, :-1] + spans / 2
        for row in range(middle.shape[1]):  # a strip of each image between two edges
            y = middle[:, row, np.newaxis, 0]
            in_strip = (low[..., 0] <= y) & (y <= high[..., 0])  # [P, K]
            x = middle[:, np.newaxis, :, 1]
            in_cell = (low[..., 1:] <= x) & (x <= high[..., 1:])  # [P, K, 2 K - 1]
            hit = np.any(in_cell & in_strip[..., np.newaxis], axis=1)
            area += spans[:, row, 0] * np.sum(hit * spans[..., 1], axis=1)
        return area


def true_phrases(phrases: Phrases) -> TruePhrases:
    """Collects the boxes of each phrase: rows with the same words of a sentence are one phrase.

    Args:
        phrases: Phrases with one box each, in any order.

    Returns:
        Phrases sorted by sentence, first and last token.
    """
    places = np.stack([phrases.sentence_index, phrases.first, phrases.last], axis=1)
    unique, row_of, phrase = np.unique(places, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(phrase.reshape(-1), kind="stable")
    phrase, boxes = phrase.reshape(-1)[order], np.asarray(phrases.boxes, np.float64)[order]
    around = boxes_around(boxes, phrase, len(unique))
    types, texts = ([column[row] for row in row_of] for column in (phrases.type, phrases.text))
    sentence_index, first, last = unique.T
    return TruePhrases(sentence_index, first, last, around, boxes, phrase, types, texts)


class Candidates(NamedTuple):
    """The regions of the images of P phrases.

    Attributes:
        boxes: Float array [I, R, 4], `rel_yxyx`; region 0 is the frame.
        mask: Boolean array [I, R], True for real regions.
        image: Integer array [P], the image of every phrase.
    """

    boxes: np.ndarray
    mask: np.ndarray
    image: np.ndarray

    def overlaps(self, truth: TruePhrases) -> np.ndarray:
        """Returns which regions meet the box around each phrase, bool [P, R]."""
        found = np.zeros([len(self.image), self.mask.shape[1]], bool)
        for start in range(0, len(found), 4096):  # bounds the memory
            rows = slice(start, start + 4096)
            image = self.image[rows]
            iou = box_iou(self.boxes[image], truth.around[rows, np.newaxis])
            found[rows] = (iou >= _MIN_IOU) & self.mask[image]
        return found

    def pairs_meet(self, truth: TruePhrases, phrases: np.ndarray) -> np.ndarray:
        """Returns whether a box around two regions meets the box around each phrase.

        Args:
            truth: P phrases.
            phrases: Boolean array [P], the phrases in question.

        Returns:
            Boolean array [P]; False for the other phrases.
        """
        found = np.zeros(len(self.image), bool)
        first, second = np.triu_indices(self.mask.shape[1])
        asked = np.flatnonzero(phrases)
        for start in range(0, len(asked), 256):  # bounds the memory
            rows = asked[start : start + 256]
            boxes, mask = self.boxes[self.image[rows]], self.mask[self.image[rows]]
            a, b = boxes[:, first], boxes[:, second]
            low, high = np.minimum(a[..., :2], b[..., :2]), np.maximum(a[..., 2:], b[..., 2:])
            around = np.concatenate([low, high], axis=2)
            iou = box_iou(around, truth.around[rows, np.newaxis])
            found[rows] = ((iou >= _MIN_IOU) & mask[:, first] & mask[:, second]).any(axis=1)
        return found


def readout_hits(
    truth: TruePhrases,
    overlaps: np.ndarray,
    points: np.ndarray,
    ranking: np.ndarray,
    boxes: np.ndarray | None = None,
) -> dict[str, np.ndarray]:
    """Finds the phrases whose point, or whose box or one of whose best regions, is right.

    Args:
        truth: P phrases.
        overlaps: Boolean array [P, R], the regions that meet the box of the phrase.
        points: Float array [P, 2], (y, x). NaN for a phrase that has none.
        ranking: Float array [P, R] by which regions are ranked; minus infinity for those that are
            no answer.
        boxes: Boxes that come before the regions, float array [P, 4]; NaN for phrases whose box is
            that of their best region. None if all are.

    Returns:
        Boolean arrays [P]: "pointing", and the names of `RECALLS`.

    Example:
        >>> truth = TruePhrases(
        ...     np.array([0]), np.array([1]), np.array([2]), np.array([[0.0, 0.0, 0.5, 0.5]]),
        ...     np.array([[0.0, 0.0, 0.5, 0.5]]), np.array([0]), ["animals"], ["a dog"])
        >>> hits = readout_hits(
        ...     truth, np.array([[False, True]]), np.array([[0.2, 0.3]]), np.array([[2.0, 1.0]]))
        >>> {name: bool(hit[0]) for name, hit in hits.items()}
        {'pointing': True, 'r1': False, 'r5': True, 'r10': True}
    """
    order = np.argsort(-ranking, axis=1, kind="stable")
    right = np.take_along_axis(overlaps & np.isfinite(ranking), order, axis=1)
    place = np.where(
        right.any(axis=1), right.argmax(axis=1), ranking.shape[1] + max(RECALLS.values())
    )
    if boxes is not None:
        comes_first = ~np.isnan(boxes[:, 0])
        place = np.where(comes_first, place + 1, place)
        place[comes_first & (box_iou(boxes, truth.around) >= _MIN_IOU)] = 0
    return {
        "pointing": truth.holds(points),
        **{name: place < count for name, count in RECALLS.items()},
    }


def reference_hits(
    truth: TruePhrases, overlaps: np.ndarray, pairs_meet: np.ndarray
) -> dict[str, np.ndarray]:
    """Finds what answers that know nothing reach, and what the best region would.

    Args:
        truth: P phrases.
        overlaps: Boolean array [P, R], the regions that meet the box of the phrase.
        pairs_meet: Boolean array [P], whether the box around two regions meets it, for phrases
            that may have such a box.

    Returns:
        Arrays [P]: "ceiling", whether any region meets the box, or any two; "centre_pointing", the
        centre of the image; "random_pointing", the chance of a random point; "frame_r1", the whole
        frame.
    """
    return {
        "ceiling": overlaps.any(axis=1) | pairs_meet,
        "centre_pointing": truth.holds(_CENTRE),
        "random_pointing": truth.covered(),
        "frame_r1": box_iou(truth.around, _FRAME) >= _MIN_IOU,
    }


def by_type(types: list[str]) -> dict[str, np.ndarray]:
    """Returns the phrases of each type, bool [P], the most frequent type first.

    Example:
        >>> {name: rows.tolist() for name, rows in by_type(["people", "people/scene", ""]).items()}
        {'people': [True, True, False], 'scene': [False, True, False]}
    """
    members = [set(filter(None, each.split("/"))) for each in types]
    rows = {name: np.array([name in each for each in members]) for name in set().union(*members)}
    return dict(sorted(rows.items(), key=lambda item: (-int(item[1].sum()), item[0])))


def percentages(hits: Mapping[str, np.ndarray]) -> dict[str, float | None]:
    """Returns the means of hits in percent, None without any."""
    return {name: 100.0 * float(np.mean(h)) if len(h) else None for name, h in hits.items()}


def hit_evidence(
    hits: Mapping[str, np.ndarray], image: np.ndarray, images: int
) -> dict[str, Evidence]:
    """Returns the per-image evidence of hits.

    Args:
        hits: Arrays [N] by name.
        image: Integer array [N], the image of every item.
        images: I, the number of images.
    """
    return {name: ratio(found, image, images) for name, found in hits.items()}


def proposal_hits(
    boxes: np.ndarray,
    mask: np.ndarray,
    true_boxes: np.ndarray,
    image: np.ndarray,
    min_iou: float,
) -> dict[str, np.ndarray | None]:
    """Finds the true boxes that one of the first regions of their image meets.

    Args:
        boxes: Regions, float array [I, R, 4], `rel_yxyx`, the best first; region 0 is the frame.
        mask: Boolean array [I, R], True for real regions.
        true_boxes: Float array [N, 4].
        image: Integer array [N], the image of every true box.
        min_iou: Smallest IoU with which a box is met.

    Returns:
        Boolean arrays [N] by the number of regions, as text; None for more than there are.
    """
    return {
        str(count): best_overlaps(boxes, mask, true_boxes, image, count) >= min_iou
        if count <= boxes.shape[1]
        else None
        for count in PROPOSALS
    }


def true_things(phrases: Phrases, image_index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the boxes of the things of all images, each once, and their images.

    Args:
        phrases: Phrases with one box each.
        image_index: Integer array [S], the image of every sentence.

    Returns:
        Float array [N, 4], and integer array [N].
    """
    image = np.asarray(image_index)[phrases.sentence_index]
    _, rows = np.unique(np.stack([image, phrases.object], axis=1), axis=0, return_index=True)
    return np.asarray(phrases.boxes, np.float64)[rows], image[rows]
