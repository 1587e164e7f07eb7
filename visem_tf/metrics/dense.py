"""Dense captioning: boxes and their texts together, by DenseCap's mean average precision.

J. Johnson, A. Karpathy and L. Fei-Fei, "DenseCap" (CVPR 2016), section 4.3, as their Lua program
computes it:

1. True boxes of an image that overlap with an IoU of at least 0.7 become one box, their mean, with
   the texts of all of them as references.
2. In order of descending confidence, each predicted box is assigned to the true box that it
   overlaps most. The first prediction that is assigned to a true box can be correct; later ones are
   false.
3. A prediction is correct at a pair of thresholds if its IoU is at least 0.3 … 0.7 and the METEOR
   of its text is above 0 … 0.25. Over all images, precision at 101 levels of recall gives an
   average precision; the result is the mean over the 5 × 6 pairs.

The mean over the IoU thresholds alone, which ignores texts, is given as well.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from visem_tf.metrics.regions import box_iou

IOU_THRESHOLDS = (0.3, 0.4, 0.5, 0.6, 0.7)
"""Thresholds that the IoU of a prediction must reach."""
METEOR_THRESHOLDS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25)
"""Thresholds that the METEOR of a text must exceed."""

_MERGE_IOU = 0.7
_RECALL_LEVELS = np.linspace(0, 1, 101)

TextScorer = Callable[[Sequence[str], Sequence[Sequence[str]]], np.ndarray]
"""N texts and N lists of references to the METEOR of each text, float [N], 0 to 1."""


@dataclass(frozen=True)
class DenseCaptions:
    """Boxes of one image with a text each, true or predicted.

    Attributes:
        boxes: Float array [P, 4], `rel_yxyx`.
        texts: P texts.
        scores: Float array [P], the confidence of predictions; None for true boxes.
    """

    boxes: np.ndarray
    texts: Sequence[str]
    scores: np.ndarray | None = None


def dense_caption_map(
    predictions: Sequence[DenseCaptions],
    truths: Sequence[DenseCaptions],
    text_scorer: TextScorer | None = None,
) -> dict[str, float | int | None]:
    """Computes the mean average precision of predicted boxes and texts.

    Args:
        predictions: Predicted boxes of I images, with scores.
        truths: True boxes of the same images. All predictions of an image without any are false.
        text_scorer: METEOR of single texts; None where it cannot be computed.

    Returns:
        "map" in percent, None without `text_scorer`; "detection_map" in percent, which ignores
        texts; "true_boxes", their number after merging; "predicted_boxes". Both precisions are
        None if there is no true box.

    Raises:
        ValueError: If the numbers of images differ, or predictions have no scores.

    Example:
        >>> box = np.array([[0.0, 0.0, 0.5, 0.5]])
        >>> found = dense_caption_map(
        ...     [DenseCaptions(box, ["a red ball"], np.array([0.9]))],
        ...     [DenseCaptions(box, ["a red ball"])],
        ...     lambda texts, references: np.ones(len(texts)))
        >>> found["map"], found["detection_map"]
        (100.0, 100.0)
    """
    if len(predictions) != len(truths):
        raise ValueError(f"predictions are of {len(predictions)} images, truths of {len(truths)}")
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
    order = np.argsort(-np.concatenate(confidence), kind="stable")
    ious = np.concatenate(overlap)[order]
    is_first = np.concatenate(first)[order]
    detected = np.stack([is_first & (ious >= least) for least in IOU_THRESHOLDS])  # [5, P]
    found: dict[str, float | None] = {"map": None}
    if text_scorer is not None:
        meteor = _text_scores(said, gold, text_scorer)[order]
        described = np.stack([meteor > least for least in METEOR_THRESHOLDS])  # [6, P]
        found["map"] = _mean_precision(detected[:, np.newaxis] & described, true_boxes)
    found["detection_map"] = _mean_precision(detected, true_boxes)
    return {**found, **counts}


def merge_boxes(truth: DenseCaptions) -> tuple[np.ndarray, list[list[str]]]:
    """Merges true boxes of one thing: those that overlap with an IoU of at least 0.7.

    The merging is greedy, as in DenseCap: the box that overlaps most others is merged first, with
    all of them.

    Returns:
        boxes: Float array [Q, 4], the means of merged boxes.
        texts: Q lists of texts.
    """
    boxes = np.asarray(truth.boxes, np.float64).reshape(-1, 4)
    together = box_iou(boxes[:, np.newaxis], boxes) >= _MERGE_IOU
    np.fill_diagonal(together, True)  # the IoU of an empty box with itself is 0
    merged: list[np.ndarray] = []
    texts: list[list[str]] = []
    while together.any():
        members = np.flatnonzero(together[np.argmax(together.sum(axis=1))]).tolist()
        merged.append(boxes[members].mean(axis=0))
        texts.append([truth.texts[member] for member in members])
        together[members] = False
        together[:, members] = False
    return np.array(merged).reshape(-1, 4), texts


def _assign(
    predicted: DenseCaptions, boxes: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Assigns every prediction to a true box.

    Returns:
        best: Integer array [P], the true box of every prediction; -1 for none.
        iou: Float array [P], their IoU.
        is_first: Boolean array [P], whether the prediction has the highest confidence of those of
            its true box. Of equal ones the first counts.
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
    """Returns the METEOR of every text; 0 for texts without references."""
    rows = [n for n, references in enumerate(gold) if references]
    scores = np.zeros(len(said))
    if rows:
        scores[rows] = scorer([said[n] for n in rows], [gold[n] for n in rows])
    return scores


def _mean_precision(correct: np.ndarray, true_boxes: int) -> float:
    """Computes the mean of average precisions, in percent.

    Args:
        correct: Boolean array [..., P], for every pair of thresholds the predictions in order of
            descending confidence.
        true_boxes: Number of true boxes.
    """
    correct = correct.reshape(np.prod(correct.shape[:-1], dtype=int), correct.shape[-1])
    hits = np.cumsum(correct, axis=1)
    precision = hits / np.arange(1, correct.shape[1] + 1)
    beyond = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]  # the best from here on
    beyond = np.pad(beyond, [(0, 0), (0, 1)])  # for recalls that are not reached
    recall = hits / true_boxes  # rises along a row
    found = [
        np.mean(row[np.searchsorted(reached, _RECALL_LEVELS)])
        for row, reached in zip(beyond, recall, strict=True)
    ]
    return 100.0 * float(np.mean(found))
