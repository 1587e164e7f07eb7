"""The box around two regions, against its definition in plain NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from visem_tf.alignment.overlaps import PAIRS, boxes_around_two
from visem_tf.metrics.regions import box_iou


def best_pair(logits, boxes):
    """The definition, for the regions of one image: the box, its region and how sure it is."""
    pairs, values = [], []
    for i in range(len(logits)):
        for j in range(i, len(logits)):
            if i == j or box_iou(boxes[i], boxes[j]) <= 0.05:
                pairs.append((i, j))
                values.append((logits[i] + logits[j]) / 2)
    order = np.argsort(-np.array(values), kind="stable")[:PAIRS]
    pairs, values = [pairs[k] for k in order], np.array(values)[order]
    shares = np.exp(values - values.max())
    shares /= shares.sum()
    around = np.array(
        [
            [*np.minimum(boxes[i], boxes[j])[:2], *np.maximum(boxes[i], boxes[j])[2:]]
            for i, j in pairs
        ]
    )
    expected = box_iou(around[:, np.newaxis], around) @ shares
    best = int(expected.argmax())
    i, j = pairs[best]
    return around[best], i if logits[i] >= logits[j] else j


@pytest.mark.parametrize("regions", [1, 2, 5, 20])
@pytest.mark.parametrize("compiled", [False, True])
def test_the_box_is_that_of_the_pair_with_the_largest_expected_overlap(regions, compiled):
    random = np.random.default_rng(regions)
    low = random.uniform(0, 0.7, [8, regions, 2])
    boxes = np.concatenate([low, low + random.uniform(0.05, 0.3, low.shape)], axis=2)
    logits = random.normal(0, 2, [8, regions])
    mask = np.arange(regions) < random.integers(1, regions + 1, [8, 1])
    function = tf.function(boxes_around_two) if compiled else boxes_around_two
    found, members = function(
        tf.constant(logits, tf.float32), tf.constant(boxes, tf.float32), tf.constant(mask)
    )
    of_two = 0
    for n in range(8):
        box, region = best_pair(logits[n][mask[n]], boxes[n][mask[n]])
        np.testing.assert_allclose(found[n], box, rtol=1e-5)
        assert int(members[n]) == region
        of_two += not np.allclose(box, boxes[n, region], rtol=1e-5)
    assert of_two or regions < 5


def test_images_without_regions_raise_no_error():
    box, region = boxes_around_two(tf.zeros([1, 3]), tf.zeros([1, 3, 4]), tf.zeros([1, 3], tf.bool))
    assert np.isfinite(box).all()
    assert 0 <= int(region[0]) < 3
