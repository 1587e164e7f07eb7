"""Bidirectional gated units against NumPy, word by word."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from visem_tf.models.sentence_encoder import GruSentenceEncoder

V, D, H, E = 11, 5, 4, 3


def make_encoder(dtype="float32", **options):
    keras.utils.set_random_seed(4)
    encoder = GruSentenceEncoder(V, D, H, word_dim=E, dtype=dtype, **options)
    encoder.build()
    rng = np.random.default_rng(1)
    for weight in encoder.trainable_weights:
        weight.assign(weight + rng.normal(scale=0.3, size=weight.shape))
    return encoder


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def reference(encoder, words):
    """s_t of one sentence."""
    x = encoder.word_vectors.embeddings.numpy().astype(np.float64)[words]

    def direction(x, projection, kernel, bias):
        hidden, rows = np.zeros(H), []
        for vector in x:
            a = vector @ projection.kernel.numpy()
            u = hidden @ kernel.numpy() + bias.numpy()
            z, r = sigmoid(a[:H] + u[:H]), sigmoid(a[H : 2 * H] + u[H : 2 * H])
            hidden = z * hidden + (1 - z) * np.tanh(a[2 * H :] + r * u[2 * H :])
            rows.append(hidden)
        return np.array(rows)

    forward = direction(x, encoder.forward_projection, encoder.forward_kernel, encoder.forward_bias)
    backward = direction(
        x[::-1], encoder.backward_projection, encoder.backward_kernel, encoder.backward_bias
    )[::-1]
    kernel, bias = (weight.numpy() for weight in encoder.output_projection.weights)
    return (forward + backward) / 2 @ kernel + bias


@pytest.mark.parametrize("in_graph", [False, True])
def test_embeddings_are_those_of_the_equations(in_graph):
    encoder = make_encoder()
    token_ids = np.array([[5, 6, 7, 8], [9, 0, 0, 0], [0, 0, 0, 0], [4, 10, 4, 0]], np.int32)
    call = encoder.__call__
    if in_graph:
        call = tf.function(call, input_signature=[tf.TensorSpec([None, None], tf.int32)])
    embeddings = call(tf.constant(token_ids)).numpy()
    for row, words in enumerate(token_ids):
        length = np.count_nonzero(words)
        if length:
            expected = reference(encoder, words[:length])
            np.testing.assert_allclose(embeddings[row, :length], expected, atol=1e-5)
        assert not embeddings[row, length:].any()
    wider = call(tf.constant(np.pad(token_ids, [(0, 1), (0, 3)])))
    np.testing.assert_allclose(wider[:4, :4], embeddings, atol=1e-6)
    assert call(tf.zeros([2, 3], tf.int32)).numpy().any() == np.False_


@pytest.mark.parametrize("in_graph", [pytest.param(False, marks=pytest.mark.slow), True])
def test_gradients(in_graph):
    encoder = make_encoder(dtype="float64")
    token_ids = tf.constant([[5, 6, 7, 8], [9, 0, 0, 0], [4, 10, 4, 0]])
    rng = np.random.default_rng(0)
    factor = rng.normal(size=[3, 4, D])

    def total():
        return tf.reduce_sum(factor * encoder(token_ids))

    def slopes():
        with tf.GradientTape() as tape:
            value = total()
        values = [variable.value for variable in encoder.trainable_variables]
        return [tf.convert_to_tensor(gradient) for gradient in tape.gradient(value, values)]

    gradients = tf.function(slopes)() if in_graph else slopes()
    total = tf.function(total)  # called twice for each weight
    for variable, gradient in zip(encoder.trainable_variables, gradients, strict=True):
        direction, start, delta = rng.normal(size=variable.shape), variable.numpy(), 1e-6
        variable.assign(start + delta * direction)
        above = total()
        variable.assign(start - delta * direction)
        below = total()
        variable.assign(start)
        expected = np.sum(gradient.numpy() * direction)
        np.testing.assert_allclose((above - below) / (2 * delta), expected, rtol=1e-5, atol=1e-8)


def test_dropout_is_on_in_training_only():
    encoder, token_ids = make_encoder(dropout=0.5, dropout_hidden=0.5), tf.constant([[5, 6, 7]])
    np.testing.assert_array_equal(encoder(token_ids), encoder(token_ids))
    assert not np.allclose(encoder(token_ids, training=True), encoder(token_ids))


def test_word_vectors_may_be_given_and_kept():
    encoder = GruSentenceEncoder(V, D, H, word_dim=E, train_words=False)
    matrix = np.arange(V * E, dtype=np.float32).reshape(V, E)
    encoder.load_word_vectors(matrix)
    np.testing.assert_array_equal(encoder.word_vectors.embeddings, matrix)
    assert not any("word_vectors" in weight.path for weight in encoder.trainable_weights)
