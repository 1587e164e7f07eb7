"""The loop keeps the boxes that TensorFlow's own operation keeps, and those of the definition."""

import numpy as np
import pytest
import tensorflow as tf

from visem_tf.regions.proposers.windows import window_grid
from visem_tf.regions.suppression import suppress


def by_the_definition(boxes: np.ndarray, scores: np.ndarray, num_boxes: int, nms_iou: float):
    kept: list[int] = []
    for index in sorted(range(len(scores)), key=lambda n: (-scores[n], n)):
        top, left = np.maximum(boxes[kept, :2], boxes[index, :2]).T
        bottom, right = np.minimum(boxes[kept, 2:], boxes[index, 2:]).T
        shared = np.maximum(bottom - top, 0) * np.maximum(right - left, 0)
        area = np.prod(boxes[[*kept, index], 2:] - boxes[[*kept, index], :2], axis=1)
        if (shared <= nms_iou * (area[:-1] + area[-1] - shared)).all() and len(kept) < num_boxes:
            kept.append(index)
    return kept


@pytest.mark.parametrize("nms_iou", [0.1, 0.4, 1.0])
def test_it_keeps_what_the_definition_keeps(nms_iou: float):
    rng = np.random.default_rng(0)
    corners = np.sort(rng.random([3, 40, 2, 2], np.float32), axis=2)
    boxes = corners.reshape(3, 40, 4)
    scores = rng.integers(-5, 5, [3, 40]).astype(np.float32)  # with ties
    found, found_scores, mask = suppress(tf.constant(boxes), tf.constant(scores), 9, nms_iou)
    for row in range(3):
        kept = by_the_definition(boxes[row], scores[row], 9, nms_iou)
        assert mask[row].numpy().sum() == len(kept)
        np.testing.assert_array_equal(found[row, : len(kept)], boxes[row, kept])
        np.testing.assert_array_equal(found_scores[row, : len(kept)], scores[row, kept])


def test_it_is_tensorflows_own_on_windows():
    windows = window_grid()
    scores = tf.random.stateless_normal([4, len(windows)], [1, 2])
    scores = tf.cumsum(scores, axis=1) / 20  # neighbours are alike, as in images
    boxes = tf.broadcast_to(tf.constant(windows), [4, *windows.shape])
    kept_boxes, kept_scores, mask = suppress(boxes, scores, 19, 0.4)
    lowest = tf.reduce_min(scores, axis=1, keepdims=True) - 1.0
    expected = tf.image.combined_non_max_suppression(
        boxes[:, :, tf.newaxis], (scores - lowest)[:, :, tf.newaxis], 19, 19, 0.4
    )
    np.testing.assert_array_equal(kept_boxes, expected.nmsed_boxes)
    np.testing.assert_allclose(kept_scores, expected.nmsed_scores + lowest, atol=1e-6)
    assert mask.numpy().all()


def test_no_boxes_are_left():
    boxes = tf.constant([[[0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 0.99]]])
    kept_boxes, kept_scores, mask = suppress(boxes, tf.constant([[-3.0, -2.0]]), 3, 0.5)
    assert mask.numpy().tolist() == [[True, False, False]]
    assert kept_scores.numpy().tolist() == [[-2.0, -4.0, -4.0]]
    assert not kept_boxes.numpy()[0, 1:].any()
