"""Draws have the frequencies of the model's probabilities, and each its own random number."""

import collections

import numpy as np
import pytest
import tensorflow as tf

from visem_tf.decoding.sampling import draw_words, sample_sentences

PAD, START, END, UNK = 0, 1, 2, 3
PICTURES = np.array([[0.0], [1.0], [2.0]], np.float32)


def uniform(*shape, seed=3):
    return np.random.default_rng(seed).random(shape, np.float32)


@pytest.mark.parametrize("temperature", [1.0, 0.4])
def test_frequencies_are_the_probabilities(table_model, temperature):
    model = table_model(spread=1.0)
    model.table[:, :, [PAD, START, UNK]] = -np.inf
    model.table -= np.log(np.exp(model.table).sum(-1, keepdims=True))
    samples = 20_000
    token_ids = sample_sentences(
        model, PICTURES, uniform(3, samples, 3), temperature=temperature
    ).numpy()
    model.table /= temperature
    model.table -= np.log(np.exp(model.table).sum(-1, keepdims=True))
    for picture in range(3):
        counts = collections.Counter(
            tuple(word for word in row if word) for row in token_ids[picture].tolist()
        )
        finished, unfinished = model.sentences(picture, 3, (4, 5, 6))
        expected = {sentence: np.exp(log_prob) for log_prob, sentence in finished + unfinished}
        assert set(counts) <= set(expected)
        np.testing.assert_allclose(sum(expected.values()), 1, rtol=1e-4)
        for sentence, probability in expected.items():
            margin = 5 * np.sqrt(probability * (1 - probability) / samples) + 1e-4
            assert abs(counts[sentence] / samples - probability) < margin


def test_random_numbers_decide_and_forbidden_words_are_not_drawn(table_model):
    model = table_model()
    search = tf.function(lambda random: sample_sentences(model, PICTURES, random))
    one, again, other = (search(uniform(3, 50, 6, seed=seed)).numpy() for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()
    assert not np.isin(one, [START, UNK]).any()
    for row in one.reshape(-1, 6).tolist():  # PAD stands after END only
        if PAD in row:
            assert row[row.index(PAD) - 1] == END
            assert not any(row[row.index(PAD) :])
    with_unknown = sample_sentences(model, PICTURES, uniform(3, 50, 6), allow_unknown=True)
    assert (with_unknown == UNK).numpy().any()


def test_sentences_do_not_depend_on_the_rest_of_the_batch(table_model):
    model, random = table_model(), uniform(3, 5, 6)
    together = sample_sentences(model, PICTURES, random)
    for part in (slice(0, 0), slice(0, 1), slice(1, 3)):
        alone = sample_sentences(model, PICTURES[part], random[part])
        np.testing.assert_array_equal(alone, together[part])


@pytest.mark.parametrize("size", [3, 64, 200])
def test_words_are_drawn_by_the_inverse_of_the_distribution(size):
    rng = np.random.default_rng(0)
    probs = rng.dirichlet(np.full(size, 0.5), 40) * (rng.random([40, size]) < 0.7)
    probs[np.arange(40), rng.integers(0, size, 40)] += 0.01
    random = uniform(40)
    random[:4] = [0.0, np.nextafter(np.float32(1), np.float32(0)), 0.0, 0.5]
    with np.errstate(divide="ignore"):
        drawn = draw_words(tf.constant(np.log(probs), tf.float32), random).numpy()
    ends = np.cumsum(probs, axis=1)
    expected = (ends <= random[:, None] * ends[:, -1:]).sum(axis=1)
    np.testing.assert_array_equal(drawn, expected)
    assert (probs[np.arange(40), drawn] > 0).all()


def test_logits_that_are_not_finite_draw_some_word():
    drawn = draw_words(tf.fill([2, 70], float("nan")), tf.constant([0.2, 0.9])).numpy()
    assert ((drawn >= 0) & (drawn < 70)).all()


def test_arguments_are_checked(table_model):
    with pytest.raises(ValueError, match="samples must be at least 1, got 0"):
        sample_sentences(table_model(), PICTURES, tf.zeros([3, 0, 5]))
    with pytest.raises(ValueError, match="temperature must be above 0, got 0"):
        sample_sentences(table_model(), PICTURES, tf.zeros([3, 1, 5]), temperature=0.0)
