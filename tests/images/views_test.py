"""Views of images, and the boxes in them, against slices of arrays."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from visem_tf.images.views import boxes_in_view, random_view, show_view


@given(st.integers(0, 2**31 - 1), st.integers(0, 10**6), st.floats(0.05, 1.0))
@settings(max_examples=50, deadline=None)
def test_views_lie_in_the_image_and_are_large_enough(seed, position, min_side):
    seeds = tf.constant([seed, position])
    ymin, x1, ymax, x2 = view = random_view(seeds, min_side).numpy()
    xmin, xmax = sorted((x1, x2))
    assert ymin >= 0 and xmin >= 0 and ymax <= 1 + 1e-6 and xmax <= 1 + 1e-6
    assert ymax - ymin >= min_side - 1e-5 and xmax - xmin >= min_side - 1e-5
    np.testing.assert_array_equal(random_view(seeds, min_side), view)


def test_views_differ_and_half_of_them_are_mirrored():
    views = np.array([random_view(tf.constant([0, position]), 0.5) for position in range(200)])
    turned = views[:, 1] > views[:, 3]
    assert 70 < turned.sum() < 130
    assert len(np.unique(views.round(4), axis=0)) == 200
    sides = views[:, 2] - views[:, 0]
    assert sides.min() < 0.55 and sides.max() > 0.95


def test_a_view_shows_its_part_of_the_image():
    pixels = np.random.default_rng(0).integers(0, 256, [8, 10, 3], np.uint8)
    view = tf.constant([0.25, 0.2, 0.75, 0.6])  # rows 2 to 5, columns 2 to 5
    np.testing.assert_allclose(show_view(pixels, view, 4), pixels[2:6, 2:6], atol=1e-4)
    turned = tf.gather(view, [0, 3, 2, 1])
    np.testing.assert_allclose(show_view(pixels, turned, 4), pixels[2:6, 2:6][:, ::-1], atol=1e-4)
    whole = show_view(pixels, tf.constant([0.0, 0.0, 1.0, 1.0]), 6)
    expected = tf.image.resize(pixels, [6, 6], antialias=True)
    np.testing.assert_allclose(whole, expected, atol=1e-3)


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 9, 3), (3, 1, 3)])
@pytest.mark.parametrize("view", [(0.9, 0.05, 1.0, 0.1), (0.0, 0.3, 0.05, 0.1)])
def test_a_small_view_of_a_small_image_is_not_empty(shape, view):
    shown = show_view(np.full(shape, 7, np.uint8), tf.constant(view), 5)
    np.testing.assert_allclose(shown, np.full([5, 5, 3], 7.0), atol=1e-4)


def test_the_boxes_of_a_view_cover_the_same_pixels():
    """Draws a box in an image, and finds it again in the view."""
    rng = np.random.default_rng(1)
    for position in range(20):
        ymin, ymax = sorted(rng.choice(np.arange(0, 101, 4), 2, replace=False) / 100)
        xmin, xmax = sorted(rng.choice(np.arange(0, 101, 4), 2, replace=False) / 100)
        pixels = np.zeros([200, 200, 3], np.float32)
        pixels[round(200 * ymin) : round(200 * ymax), round(200 * xmin) : round(200 * xmax)] = 255
        view = random_view(tf.constant([5, position]), 0.6)
        boxes, kept = boxes_in_view(tf.constant([[ymin, xmin, ymax, xmax]], tf.float32), view, 0.0)
        shown = show_view(pixels, view, 200).numpy()[..., 0] > 127
        assert bool(kept[0]) or shown.sum() < 50
        if shown.any():
            rows, columns = np.flatnonzero(shown.any(axis=1)), np.flatnonzero(shown.any(axis=0))
            found = [rows[0], columns[0], rows[-1] + 1, columns[-1] + 1]
            np.testing.assert_allclose(200 * boxes[0].numpy(), found, atol=4)


def test_a_box_is_kept_if_enough_of_it_is_seen():
    view = tf.constant([0.0, 0.5, 1.0, 1.0])
    boxes = tf.constant(
        [[0.2, 0.4, 0.4, 0.6], [0.2, 0.3, 0.4, 0.6], [0.0, 0.0, 1.0, 0.5], [0.3, 0.7, 0.3, 0.9]]
    )  # half of it, a third of it, nothing, and an empty box
    moved, kept = boxes_in_view(boxes, view, 0.4)
    np.testing.assert_array_equal(kept, [True, False, False, False])
    np.testing.assert_allclose(moved[0], [0.2, 0.0, 0.4, 0.2], atol=1e-6)
