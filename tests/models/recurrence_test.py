"""The order of packed words, and the written-out gradient of the BRNN."""

import numpy as np
import pytest
import tensorflow as tf
from gradients import assert_gradients_are_slopes

from visem_tf.models.recurrence import SortedSentences, bidirectional_gru, bidirectional_rnn


def test_words_are_packed_step_by_step_the_longest_sentence_first():
    found = SortedSentences(tf.constant([1, 3, 0, 2]))
    assert found.order.numpy().tolist() == [1, 3, 0, 2]
    assert found.counts.numpy().tolist() == [3, 2, 1]
    steps, sentences = tf.constant([0, 0, 1, 2, 0, 1]), tf.constant([0, 1, 1, 1, 3, 3])
    assert found.rows(steps, sentences).numpy().tolist() == [2, 0, 3, 5, 1, 4]
    assert found.sort(tf.constant([7, 8, 9, 6])).numpy().tolist() == [8, 6, 7, 9]


@pytest.mark.parametrize("lengths", [[], [0, 0]])
def test_without_words_there_is_no_output(lengths):
    lengths, kernel, bias = tf.constant(lengths, tf.int32), tf.ones([2, 2]), tf.zeros([2])
    inputs = tf.zeros([0, 2])
    assert bidirectional_rnn(inputs, lengths, kernel, bias, kernel, bias).shape == (0, 2)
    kernel, bias, inputs = tf.ones([2, 6]), tf.zeros([6]), tf.zeros([0, 6])
    found = bidirectional_gru(inputs, inputs, lengths, kernel, bias, kernel, bias)
    assert found.shape == (0, 2)


def test_gradient_of_the_recurrence_equals_automatic_and_numerical_ones():
    random = np.random.default_rng(5)
    lengths = [3, 0, 5, 1]
    shapes = [(sum(lengths), 3), (3, 3), (3,), (3, 3), (3,)]
    arguments = [random.normal(size=shape) for shape in shapes]
    weights = random.normal(size=shapes[0])

    def total(*arguments):
        inputs, *kernels = arguments
        result = bidirectional_rnn(inputs, tf.constant(lengths), *kernels)
        return tf.reduce_sum(weights * result)

    for slopes in assert_gradients_are_slopes(total, arguments, atol=1e-6):
        assert np.abs(slopes).max() > 0.1
