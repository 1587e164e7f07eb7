"""Cells against their equations, and generators with each of them."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from visem_tf.config.registry import CELLS
from visem_tf.models import cells
from visem_tf.models.caption_generator import CaptionGenerator
from visem_tf.models.cells import get_cell

H, V, F = 4, 9, 5
START, END = 1, 2


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def reference_step(name, x, u, hidden, carry):
    """h_t and c_t from x = W x_t and u = U h_{t-1} + b, gate by gate."""
    if name == "rnn":
        return np.maximum(0, x + u), carry
    if name == "lstm":
        i, f, o, g = (x[n * H : (n + 1) * H] + u[n * H : (n + 1) * H] for n in range(4))
        carry = sigmoid(f) * carry + sigmoid(i) * np.tanh(g)
        return sigmoid(o) * np.tanh(carry), carry
    z, r = (sigmoid(x[n * H : (n + 1) * H] + u[n * H : (n + 1) * H]) for n in range(2))
    new = np.tanh(x[2 * H :] + r * u[2 * H :])
    return z * hidden + (1 - z) * new, carry


def make_generator(cell, **options):
    keras.utils.set_random_seed(2)
    generator = CaptionGenerator(V, H, 3, cell=cell, **options)
    generator.build({"image_features": (None, F), "token_ids": (None, None)})
    rng = np.random.default_rng(5)
    for weight in generator.trainable_weights:
        weight.assign(weight + rng.normal(scale=0.4, size=weight.shape))
    return generator


def reference_log_probs(generator, features, words):
    x, w, w_image, u, b, w_out, b_out = (
        weight.numpy().astype(np.float64)
        for weight in (
            generator.word_vectors.embeddings,
            generator.word_projection.kernel,
            generator.image_projection.kernel,
            *generator.recurrence.weights,
            *generator.output_projection.weights,
        )
    )
    hidden, carry, rows = np.zeros(H), np.zeros(H), []
    for t, word in enumerate(words):
        picture = features @ w_image if t == 0 else 0
        hidden, carry = reference_step(
            generator.cell, x[word] @ w, hidden @ u + b + picture, hidden, carry
        )
        y = hidden @ w_out + b_out
        rows.append(y - np.log(np.exp(y).sum()))
    return np.array(rows)


def make_batch():
    rng = np.random.default_rng(0)
    token_ids = np.zeros([3, 7], np.int32)
    for row, length in enumerate((2, 5, 3)):
        token_ids[row, : length + 2] = [START, *rng.integers(3, V, length), END]
    return {
        "image_features": rng.normal(size=[3, F]).astype(np.float32),
        "token_ids": token_ids,
    }


@pytest.mark.parametrize("cell", CELLS)
def test_logits_and_steps_are_those_of_the_equations(cell):
    generator, batch = make_generator(cell), make_batch()
    logits = tf.nn.log_softmax(generator(batch))
    state = generator.initial_state(batch["image_features"])
    steps = []
    for t in range(6):
        log_probs, state = generator.step(batch["token_ids"][:, t], state)
        steps.append(log_probs)
    likelihoods = []
    for row in range(3):
        tokens = batch["token_ids"][row]
        length = np.count_nonzero(tokens) - 1
        expected = reference_log_probs(generator, batch["image_features"][row], tokens[:length])
        np.testing.assert_allclose(logits[row, :length], expected, atol=2e-5)
        np.testing.assert_allclose(np.array(steps)[:length, row], expected, atol=2e-5)
        likelihoods.append(expected[np.arange(length), tokens[1 : length + 1]])
    total = sum(of_row.sum() for of_row in likelihoods)
    np.testing.assert_allclose(tf.reduce_sum(generator.log_likelihood(batch)), total, rtol=1e-5)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_gradients_reach_every_weight(cell):
    keras.utils.set_random_seed(0)
    generator = CaptionGenerator(V, H, 3, cell=cell, dtype="float64")
    generator.build({"image_features": (None, F), "token_ids": (None, None)})
    batch = make_batch()
    batch["image_features"] = batch["image_features"].astype(np.float64)
    rng = np.random.default_rng(0)

    def loss():
        return -tf.reduce_sum(generator.log_likelihood(batch))

    with tf.GradientTape() as tape:
        value = loss()
    variables = generator.trainable_variables
    gradients = tape.gradient(value, [variable.value for variable in variables])
    for variable, gradient in zip(variables, gradients, strict=True):
        direction = rng.normal(size=variable.shape)
        start, delta = variable.numpy(), 1e-6
        variable.assign(start + delta * direction)
        above = loss()
        variable.assign(start - delta * direction)
        below = loss()
        variable.assign(start)
        expected = np.sum(tf.convert_to_tensor(gradient).numpy() * direction)
        np.testing.assert_allclose((above - below) / (2 * delta), expected, rtol=1e-5, atol=1e-7)


def test_the_forget_gate_starts_open():
    generator = CaptionGenerator(V, H, 3, cell="lstm")
    generator.build({"image_features": (None, F), "token_ids": (None, None)})
    bias = generator.recurrence.bias.numpy().reshape(4, H)
    np.testing.assert_array_equal(bias, [[0.0] * H, [1.0] * H, [0.0] * H, [0.0] * H])


def test_an_unknown_cell_is_named():
    with pytest.raises(ValueError, match="cell must be one of gru, lstm, rnn, not 'lstn'"):
        get_cell("lstn")


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_keras_file_round_trip(cell, tmp_path):
    generator = make_generator(cell, word_dropout=0.2, label_smoothing=0.1, dropout=0.1)
    batch = make_batch()
    generator.save(tmp_path / "generator.keras")
    loaded = keras.models.load_model(tmp_path / "generator.keras")
    assert loaded.get_config() == generator.get_config()
    np.testing.assert_array_equal(loaded(batch), generator(batch))


def test_label_smoothing_is_in_the_loss_and_not_in_the_perplexity():
    batch = make_batch()
    plain, smooth = make_generator("rnn"), make_generator("rnn", label_smoothing=0.2)
    surprise, of_all = 0.0, 0.0
    for features, tokens in zip(batch["image_features"], batch["token_ids"], strict=True):
        length = np.count_nonzero(tokens) - 1
        log_probs = reference_log_probs(plain, features, tokens[:length])
        surprise -= log_probs[np.arange(length), tokens[1 : length + 1]].sum()
        of_all -= log_probs.mean(axis=1).sum()
    for generator in (plain, smooth):
        generator.compile(optimizer=keras.optimizers.SGD(0.0))
    logs = smooth.train_step(batch)
    np.testing.assert_allclose(logs["loss"], (0.8 * surprise + 0.2 * of_all) / 13, rtol=1e-5)
    np.testing.assert_allclose(logs["perplexity"], np.exp(surprise / 13), rtol=1e-5)
    assert plain.train_step(batch)["perplexity"] == logs["perplexity"]


def test_word_dropout_hides_words_but_not_start_and_no_target():
    generator, batch = make_generator("rnn", word_dropout=0.99), make_batch()
    hidden = {**batch, "token_ids": batch["token_ids"].copy()}
    seen = []
    vectors = generator.word_vectors.call
    generator.word_vectors.call = lambda ids: seen.append(ids.numpy()) or vectors(ids)
    trained = generator.log_likelihood(hidden, training=True)
    words = np.concatenate([np.ravel(ids) for ids in seen])
    assert np.count_nonzero(words == START) == 3
    assert np.mean(words[words != START] == 3) > 0.7  # UNK
    assert trained.shape == (13,)
    plain = make_generator("rnn")
    for old, new in zip(plain.trainable_weights, generator.trainable_weights, strict=True):
        old.assign(new)
    np.testing.assert_array_equal(generator.log_likelihood(batch), plain.log_likelihood(batch))


def test_the_registry_lists_the_cells():
    assert tuple(cells.CELLS) == CELLS
