"""The order of packed words, and the written-out gradient of the BRNN."""

import numpy as np
import pytest
import tensorflow as tf
from gradients import assert_gradients_are_slopes

from visem_tf.models.recurrence import (
    DeferredProduct,
    SortedSentences,
    bidirectional_gru,
    bidirectional_rnn,
    unroll,
)


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


@pytest.mark.parametrize("compiled", [False, True])
def test_deferred_products_have_the_gradients_of_products(compiled):
    random = np.random.default_rng(3)
    counts = tf.constant([3, 2, 2, 1])
    inputs, kernel, bias, start = (
        tf.constant(random.normal(size=shape)) for shape in ([8, 4], [4, 4], [4], [3, 4])
    )

    def gradients(deferred):
        with tf.GradientTape() as tape:
            tape.watch([inputs, kernel, bias, start])
            addends = inputs + bias
            product = DeferredProduct(addends, kernel)

            def advance(rows, state, count):
                before = state[0][:count]
                if deferred:
                    after = tf.tanh(product.multiply(before) + rows[0])
                else:
                    after = tf.tanh(before @ kernel + rows[0])
                return (after,), (before, after)

            rows = product.addends if deferred else addends
            before, after = unroll(advance, (rows,), counts, (start,), (4, 4))
            product.close(before)
            loss = tf.reduce_sum(after**2)
        return tape.gradient(loss, [inputs, kernel, bias, start])

    compute = tf.function(gradients) if compiled else gradients
    for found, expected in zip(compute(True), compute(False), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)
