import numpy as np
import pytest
import tensorflow as tf

from visem_tf.decoding.best_words import best_words


@pytest.mark.parametrize("size", [1, 31, 32, 33, 100, 2538])
@pytest.mark.parametrize("count", [1, 7, 40])
def test_it_is_top_k_with_the_first_of_equals(size, count):
    count = min(count, size)
    random = np.random.default_rng(size)
    # Few different values: nearly all are tied.
    values = random.integers(0, 5, (20, size)).astype(np.float32)
    values[:, : size // 3] = -np.inf
    best, places = best_words(tf.constant(values), count)
    expected = np.argsort(-values, axis=1, kind="stable")[:, :count]
    np.testing.assert_array_equal(places, expected)
    np.testing.assert_array_equal(best, np.take_along_axis(values, expected, axis=1))


def test_no_rows_in_graph():
    found = tf.function(best_words)(tf.zeros([0, 50]), 3)
    assert tuple(found[0].shape) == tuple(found[1].shape) == (0, 3)
