"""Overlap of the boxes that people marked with those of a proposer."""

import numpy as np

from visem_tf.metrics.regions import box_iou


def best_overlaps(
    proposed: np.ndarray, mask: np.ndarray, boxes: np.ndarray, image: np.ndarray, count: int
) -> np.ndarray:
    """Returns the IoU of every true box with the nearest of the first proposals of its image.

    Args:
        proposed: Boxes of I images, float [I, R, 4], the most promising first.
        mask: Boolean array [I, R], True for real proposals.
        boxes: True boxes, float [O, 4].
        image: Image of every true box, int [O].
        count: Number of proposals that count, at most R.

    Returns:
        Float array [O]; 0 for images without any proposal.
    """
    overlaps = box_iou(proposed[image, :count], boxes[:, np.newaxis])
    return np.max(np.where(mask[image, :count], overlaps, 0.0), axis=1, initial=0.0)
