"""Greedy search against a loop in Python."""

import numpy as np
import pytest
import tensorflow as tf

from visem_tf.decoding import greedy_search

PAD, START, END, UNK = 0, 1, 2, 3
PICTURES = np.array([[0.0], [1.0], [2.0]], np.float32)


def reference(model, picture, max_length, words):
    sentence = ()
    while len(sentence) < max_length and END not in sentence:
        sentence = max(
            ((*sentence, word) for word in words),
            key=lambda longer: model.log_prob(picture, longer),
        )
    return sentence


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("allow_unknown", [False, True])
def test_equals_a_loop_in_python(table_model, seed, allow_unknown):
    model = table_model(seed=seed)
    token_ids, log_probs = greedy_search(model, PICTURES, max_length=5, allow_unknown=allow_unknown)
    assert token_ids.dtype == tf.int32
    for picture in range(3):
        words = (END, UNK, 4, 5, 6) if allow_unknown else (END, 4, 5, 6)
        expected = reference(model, picture, 5, words)
        row = token_ids[picture].numpy().tolist()
        assert row == [*expected, *[PAD] * (5 - len(expected))]
        np.testing.assert_allclose(log_probs[picture], model.log_prob(picture, expected), atol=1e-5)


def test_unknown_pad_and_start_are_not_said(table_model):
    model = table_model()
    model.table[:, :, [PAD, START, UNK]] = 0.0
    model.table[:, :, END] = -9.0
    token_ids, _ = greedy_search(model, PICTURES, max_length=5)
    assert (token_ids.numpy() > UNK).all()


def test_the_score_of_a_finished_sentence_stays(table_model):
    model = table_model()
    model.table[:, :, END] = 0.5
    token_ids, log_probs = greedy_search(model, PICTURES, max_length=9)
    assert token_ids.numpy().tolist() == [[END] + [PAD] * 8] * 3
    np.testing.assert_array_equal(log_probs, [0.5] * 3)


def test_sentences_of_different_lengths_in_one_batch(table_model):
    model = table_model()
    model.table[0, :, END] = 9.0
    model.table[1:, :, END] = -9.0
    token_ids, log_probs = greedy_search(model, PICTURES, max_length=4)
    assert token_ids[0].numpy().tolist() == [END, PAD, PAD, PAD]
    assert log_probs[0] == 9.0
    assert (token_ids.numpy()[1:] > UNK).all()


def test_any_batch_size_in_one_graph(table_model):
    model = table_model()
    search = tf.function(
        lambda features: greedy_search(model, features, max_length=4),
        input_signature=[tf.TensorSpec([None, 1], tf.float32)],
    )
    all_ids, _ = search(tf.constant(PICTURES))
    np.testing.assert_array_equal(search(tf.constant(PICTURES[1:2]))[0], all_ids[1:2])
    assert search(tf.zeros([0, 1]))[0].shape == (0, 4)


def test_max_length_below_one_is_refused(table_model):
    with pytest.raises(ValueError, match="max_length must be at least 1, got 0"):
        greedy_search(table_model(), PICTURES, max_length=0)
