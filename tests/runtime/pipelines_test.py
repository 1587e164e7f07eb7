"""Tests of the options of pipelines."""

import numpy as np
import tensorflow as tf

from visem_tf.runtime.pipelines import prefetched


def test_elements_keep_their_order():
    squares = tf.data.Dataset.range(50).map(lambda x: x * x, num_parallel_calls=4)
    found = list(prefetched(squares).as_numpy_iterator())
    np.testing.assert_array_equal(found, np.arange(50) ** 2)
