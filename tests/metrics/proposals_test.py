"""The overlap of true boxes with proposals, box by box."""

import numpy as np

from visem_tf.metrics.proposals import best_overlaps


def iou(a, b):
    shared = np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0).prod()
    return shared / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - shared)


def random_boxes(rng, *shape):
    return np.sort(rng.random([*shape, 2, 2]), axis=-2).reshape([*shape, 4])


def test_the_best_of_the_first_proposals_counts():
    rng = np.random.default_rng(0)
    proposed, boxes = random_boxes(rng, 3, 6), random_boxes(rng, 8)
    mask = rng.random([3, 6]) < 0.7
    image = np.array([0, 0, 0, 1, 2, 2, 2, 2])
    for count in (1, 4, 6):
        expected = [
            max(iou(proposed[i, r], box) if mask[i, r] else 0.0 for r in range(count))
            for i, box in zip(image, boxes, strict=True)
        ]
        found = best_overlaps(proposed, mask, boxes, image, count)
        np.testing.assert_allclose(found, expected, atol=1e-12)


def test_an_image_without_proposals_finds_nothing():
    boxes = np.array([[0.0, 0, 1, 1]])
    found = best_overlaps(np.ones([1, 2, 4]), np.zeros([1, 2], bool), boxes, np.array([0]), 2)
    assert found.tolist() == [0.0]
    assert best_overlaps(np.zeros([1, 0, 4]), np.zeros([1, 0], bool), boxes, np.array([0]), 0) == 0
