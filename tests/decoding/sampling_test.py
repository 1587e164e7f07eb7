"""Draws have the frequencies of the model's probabilities."""

import collections

import numpy as np
import pytest
import tensorflow as tf

from visem_tf.decoding.sampling import sample_sentences

PAD, START, END, UNK = 0, 1, 2, 3
PICTURES = np.array([[0.0], [1.0], [2.0]], np.float32)


@pytest.mark.parametrize("temperature", [1.0, 0.4])
def test_frequencies_are_the_probabilities(table_model, temperature):
    model = table_model(spread=1.0)
    model.table[:, :, [PAD, START, UNK]] = -np.inf
    model.table -= np.log(np.exp(model.table).sum(-1, keepdims=True))
    samples = 20_000
    token_ids = sample_sentences(
        model, PICTURES, samples, 3, seed=[3, 0], temperature=temperature
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


def test_a_seed_decides_and_forbidden_words_are_not_drawn(table_model):
    model = table_model()
    search = tf.function(lambda seed: sample_sentences(model, PICTURES, 50, 6, seed=seed))
    one, again, other = (search(tf.constant([n, 7])).numpy() for n in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()
    assert not np.isin(one, [START, UNK]).any()
    for row in one.reshape(-1, 6).tolist():  # PAD stands after END only
        if PAD in row:
            assert row[row.index(PAD) - 1] == END
            assert not any(row[row.index(PAD) :])
    assert (
        (sample_sentences(model, PICTURES, 50, 6, seed=[1, 7], allow_unknown=True) == UNK)
        .numpy()
        .any()
    )


def test_arguments_are_checked(table_model):
    with pytest.raises(ValueError, match="samples must be at least 1, got 0"):
        sample_sentences(table_model(), PICTURES, 0, seed=[0, 0])
    with pytest.raises(ValueError, match="temperature must be above 0, got 0"):
        sample_sentences(table_model(), PICTURES, 1, seed=[0, 0], temperature=0.0)
