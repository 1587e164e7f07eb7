"""Resampling by matrix products against TensorFlow's own operations and against sums by hand."""

import numpy as np
import pytest
import tensorflow as tf

from visem_tf.regions.resample import crop_and_resize, pool_regions, pooling_weights

FRAME = tf.constant([[[0.0, 0.0, 1.0, 1.0]]])


@pytest.fixture
def pixels():
    return tf.random.stateless_uniform([2, 40, 30, 3], [1, 2]) * 255


@pytest.mark.parametrize("size", [8, 17, 64])
def test_equals_tf_image_resize_on_the_frame(pixels, size):
    frames = tf.tile(FRAME, [2, 1, 1])
    crops = crop_and_resize(pixels, frames, size)[:, 0]
    expected = tf.image.resize(pixels, [size, size], antialias=True)
    np.testing.assert_allclose(crops, expected, atol=1e-3)


def test_a_box_on_pixel_borders_is_the_resized_slice(pixels):
    box = tf.constant([[[10 / 40, 6 / 30, 30 / 40, 24 / 30]]])
    crops = crop_and_resize(pixels[:1], box, 9)[0, 0]
    expected = tf.image.resize(pixels[0, 10:30, 6:24], [9, 9], antialias=True)
    # Filters may look past the box, not past the image; the middle sees the same pixels.
    np.testing.assert_allclose(crops[2:-2, 2:-2], expected[2:-2, 2:-2], atol=1e-3)


def test_enlarging_keeps_the_range(pixels):
    box = tf.constant([[[0.4, 0.4, 0.45, 0.45]]])
    crops = crop_and_resize(pixels[:1], box, 50).numpy()
    assert np.isfinite(crops).all() and crops.min() >= 0 and crops.max() <= 255.001


def test_boxes_at_the_border_and_empty_boxes_are_finite(pixels):
    boxes = tf.constant([[[0.0, 0.0, 0.0, 0.0], [0.99, 0.99, 1.0, 1.0], [-0.2, -0.2, 0.1, 0.1]]])
    assert np.isfinite(crop_and_resize(pixels[:1], boxes, 5).numpy()).all()


def test_pooling_the_frame_is_the_mean(pixels):
    pooled = pool_regions(pixels, tf.tile(FRAME, [2, 1, 1]))[:, 0]
    np.testing.assert_allclose(pooled, tf.reduce_mean(pixels, axis=[1, 2]), rtol=1e-5)


def test_pooling_counts_cells_with_the_area_they_share():
    weights = pooling_weights(tf.constant([0.25, 0.0, 0.75, 0.5]), 2, 2).numpy().reshape(2, 2)
    np.testing.assert_allclose(weights, [[0.5, 0.0], [0.5, 0.0]], atol=1e-6)
    weights = pooling_weights(tf.constant([0.0, 0.0, 0.75, 1.0]), 2, 1).numpy()
    np.testing.assert_allclose(weights, [2 / 3, 1 / 3], atol=1e-6)
