"""Place and size of a box in its features, number by number."""

import math

import numpy as np
import pytest
import tensorflow as tf

from visem_tf.regions.positions import POSITION_DIM, with_positions


def test_sines_and_cosines_of_place_size_and_aspect():
    rng = np.random.default_rng(0)
    features = rng.normal(size=[2, 3, 5])
    boxes = np.sort(rng.random([2, 3, 2, 2]), axis=2).reshape(2, 3, 4)
    found = with_positions(tf.constant(features, tf.float32), tf.constant(boxes, tf.float32))
    for i in range(2):
        for r in range(3):
            ymin, xmin, ymax, xmax = boxes[i, r]
            height, width = ymax - ymin, xmax - xmin
            aspect = (math.atan2(height, width)) / (math.pi / 2)  # 0: flat, 0.5: square, 1: upright
            values = [
                *((ymin + ymax) / 2, (xmin + xmax) / 2),
                *(height, width, math.sqrt(height * width), aspect),
            ]
            waves = [
                wave(2**k * math.pi * value)
                for value in values
                for wave in (math.sin, math.cos)
                for k in range(3)
            ]
            waves = np.array(waves) * np.linalg.norm(features[i, r]) / 2 / math.sqrt(18)
            expected = np.concatenate([features[i, r], waves])
            np.testing.assert_allclose(found[i, r], expected, rtol=1e-3, atol=1e-4)
            length = np.linalg.norm(found[i, r, 5:])
            assert length == pytest.approx(np.linalg.norm(features[i, r]) / 2, rel=1e-4)
    assert found.shape == (2, 3, 5 + POSITION_DIM)


def test_padding_has_finite_numbers():
    found = with_positions(tf.zeros([1, 2, 4]), tf.zeros([1, 2, 4]))
    assert np.isfinite(found).all()
