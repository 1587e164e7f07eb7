"""Dense captioning: boxes and their texts together, by DenseCap's mean average precision.

J. Johnson, A. Karpathy and L. Fei-Fei, "DenseCap" (CVPR 2016), section 4.3, as their Lua program
computes it:

1. True boxes of a picture that overlap with an IoU of at least 0.7 become one, their mean, with the
   texts of all of them as references.
2. In order of falling confidence, each predicted box goes to the true box that it overlaps most. A
   true box can be found once: later ones for it are false, however good.
3. A prediction is right at a pair of thresholds when its IoU is at least 0.3 … 0.7 and the METEOR
   of its text is above 0 … 0.25. Over all pictures, precision at 101 levels of recall gives an
   average precision; the figure is the mean over the 5 × 6 pairs.

Beside it stands the mean over the IoU thresholds alone, texts ignored.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from visem_tf.metrics.meteor import exact_statistics, meteor_of_statistics
from visem_tf.metrics.regions import box_iou

IOU_THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7)
"""A box must overlap its true box by at least one of these."""
METEOR_THRESHOLDS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25)
"""A text must be better than one of these."""

_MERGE_IOU = 0.7
_RECALL_LEVELS = np.linspace(0, 1, 101)

TextScorer = Callable[[Sequence[str], Sequence[Sequence[str]]], np.ndarray]
"""Texts, N lists of references -> METEOR of each, float [N], 0 to 1."""


@dataclass(frozen=True)
class DenseCaptions:
    """Boxes of one picture with a text each, true or predicted.

    Attributes:
      boxes: float [P, 4], `rel_yxyx`.
      texts: P tokenized texts.
      scores: float [P], confidence of predictions; None for the truth.
    """

    boxes: np.ndarray
    texts: Sequence[str]
    scores: np.ndarray | None = None


def dense_caption_map(
    predictions: Sequence[DenseCaptions],
    truths: Sequence[DenseCaptions],
    text_scorer: TextScorer | None = None,
) -> dict[str, float | int | None]:
    """The mean average precision of predicted boxes and texts.

    Args:
      predictions: of I pictures, with scores.
      truths: of the same pictures; one without boxes only has false predictions.
      text_scorer: METEOR of single texts; None takes the substitute without Java, METEOR's
        formula over equal words alone (`visem_tf.metrics.meteor.exact_statistics`), whose figures
        do not compare with published ones.

    Returns:
      "map" and "detection_map" in percent, None where no picture has a true box; "true_boxes", how
      many there are after merging; "predicted_boxes".

    Raises:
      ValueError: the numbers of pictures differ, or predictions lack scores.

    Example:
        >>> box = np.array([[0.0, 0.0, 0.5, 0.5]])
        >>> found = dense_caption_map(
        ...     [DenseCaptions(box, ["a red ball"], np.array([0.9]))],
        ...     [DenseCaptions(box, ["a red ball"])])
        >>> found["map"], found["detection_map"]
        (100.0, 100.0)
    """
    if len(predictions) != len(truths):
        raise ValueError(f"predictions are of {len(predictions)} pictures, truths of {len(truths)}")
    confidence, overlap, first = [], [], []
    said: list[str] = []
    gold: list[list[str]] = []
    true_boxes = 0
    for predicted, truth in zip(predictions, truths, strict=True):
        if predicted.scores is None or len(predicted.scores) != len(predicted.boxes):
            raise ValueError("predictions must have a score for every box")
        boxes, references = merge_boxes(truth)
        true_boxes += len(boxes)
        best, iou, is_first = _assign(predicted, boxes)
        confidence.append(predicted.scores)
        overlap.append(iou)
        first.append(is_first)
        said.extend(predicted.texts)
        gold.extend(references[b] if b >= 0 else [] for b in best)
    counts = {"true_boxes": true_boxes, "predicted_boxes": len(said)}
    if not true_boxes:
        return {"map": None, "detection_map": None, **counts}
    if not said:
        return {"map": 0.0, "detection_map": 0.0, **counts}
    order = np.argsort(-np.concatenate(confidence), kind="stable")
    ious = np.concatenate(overlap)[order]
    countable = np.concatenate(first)[order]
    meteor = _text_scores(said, gold, text_scorer or exact_meteor)[order]
    detected = np.stack([countable & (ious >= least) for least in IOU_THRESHOLDS])  # [5, P]
    described = np.stack([meteor > least for least in METEOR_THRESHOLDS])  # [6, P]
    return {
        "map": 100.0 * float(np.mean(_precision(detected[:, None] & described, true_boxes))),
        "detection_map": 100.0 * float(np.mean(_precision(detected, true_boxes))),
        **counts,
    }


def merge_boxes(truth: DenseCaptions) -> tuple[np.ndarray, list[list[str]]]:
    """True boxes of one thing as one: the mean of those that overlap by 0.7, and all their texts.

    Greedy, as DenseCap's: the box that overlaps most others goes first, with all of them.

    Returns:
      float [Q, 4], and Q lists of texts.
    """
    boxes = np.asarray(truth.boxes, np.float64).reshape(-1, 4)
    together = box_iou(boxes[:, np.newaxis], boxes) >= _MERGE_IOU
    np.fill_diagonal(together, True)  # an empty box overlaps nothing, itself neither
    merged: list[np.ndarray] = []
    texts: list[list[str]] = []
    while together.any():
        members = np.flatnonzero(together[np.argmax(together.sum(axis=1))]).tolist()
        merged.append(boxes[members].mean(axis=0))
        texts.append([truth.texts[member] for member in members])
        together[members] = False
        together[:, members] = False
    return np.array(merged).reshape(-1, 4), texts


def exact_meteor(captions: Sequence[str], references: Sequence[Sequence[str]]) -> np.ndarray:
    """METEOR's formula over equal words alone, which needs no Java: float [N], 0 to 1."""
    rows = [exact_statistics(c, r) for c, r in zip(captions, references, strict=True)]
    return meteor_of_statistics(np.array(rows))


def _assign(
    predicted: DenseCaptions, boxes: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For every prediction its true box (-1: none), their IoU, and whether it is the first there.

    "First" is by falling confidence; equal ones keep their order.
    """
    count = len(predicted.boxes)
    if not count or not len(boxes):
        return np.full(count, -1), np.zeros(count), np.zeros(count, bool)
    ious = box_iou(np.asarray(predicted.boxes)[:, np.newaxis], boxes)  # [P, Q]
    best, iou = np.argmax(ious, axis=1), np.max(ious, axis=1)
    best = np.where(iou > 0, best, -1)
    order = np.argsort(-np.asarray(predicted.scores), kind="stable")
    _, firsts = np.unique(best[order], return_index=True)
    is_first = np.zeros(count, bool)
    is_first[order[firsts]] = True
    return best, iou, is_first & (best >= 0)


def _text_scores(
    said: Sequence[str], gold: Sequence[Sequence[str]], scorer: TextScorer
) -> np.ndarray:
    """METEOR of every text; 0 where there is nothing to compare with."""
    rows = [n for n, references in enumerate(gold) if references]
    scores = np.zeros(len(said))
    if rows:
        scores[rows] = scorer([said[n] for n in rows], [gold[n] for n in rows])
    return scores


def _precision(right: np.ndarray, true_boxes: int) -> np.ndarray:
    """Average precision, float [...]: the best precision at or beyond each of 101 recalls.

    Args:
      right: bool [..., P], predictions in order of falling confidence.
      true_boxes: how many there are to be found.
    """
    hits = np.cumsum(right, axis=-1)
    precision = hits / np.arange(1, right.shape[-1] + 1)
    beyond = np.maximum.accumulate(precision[..., ::-1], axis=-1)[..., ::-1]
    nothing = np.zeros([*right.shape[:-1], 1])  # for the recalls that are never reached
    beyond = np.concatenate([beyond, nothing], axis=-1).reshape(-1, right.shape[-1] + 1)
    recall = (hits / true_boxes).reshape(-1, right.shape[-1])  # rises along a row
    found = [
        np.mean(row[np.searchsorted(reached, _RECALL_LEVELS)])
        for row, reached in zip(beyond, recall, strict=True)  # a row a pair of thresholds
    ]
    return np.array(found).reshape(right.shape[:-1])
