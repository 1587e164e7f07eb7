"""The best words of a vocabulary, and words and n-grams that a sentence may not repeat."""

import numpy as np
import pytest
import tensorflow as tf

from visem_tf.decoding import beam_search, greedy_search
from visem_tf.decoding.common import best_words, forbid_repeated, forbid_used

IMAGES = np.array([[0.0], [1.0], [2.0]], np.float32)


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


def repeats(sentence, n):
    grams = [tuple(sentence[i : i + n]) for i in range(len(sentence) - n + 1)]
    return len(set(grams)) < len(grams)


@pytest.mark.parametrize("n", [1, 2, 3, 5])
@pytest.mark.parametrize("length", [0, 1, 2, 4, 6])
def test_exactly_the_words_that_would_repeat_are_forbidden(n, length):
    rng = np.random.default_rng(n * 10 + length)
    said = np.zeros([40, 7], np.int32)
    said[:, :length] = rng.integers(4, 6, [40, length])
    said = [row for row in said.tolist() if not repeats(row[:length], n)]
    log_probs = rng.normal(size=[len(said), 8]).astype(np.float32)
    if not said:
        pytest.skip("every such sentence repeats something")
    found = forbid_repeated(tf.constant(log_probs), tf.constant(said), tf.constant(length), n)
    for row, sentence in enumerate(said):
        for word in range(2, 8):
            bad = repeats([*sentence[:length], word], n)
            assert found[row, word] == (-np.inf if bad else log_probs[row, word])


@pytest.mark.parametrize("n", [1, 2, 3])
def test_searches_repeat_nothing(table_model, n):
    model = table_model(spread=0.3)
    model.table[:, :, 2] = -6.0  # END comes late
    free, _ = greedy_search(model, IMAGES, 12)
    greedy_ids, _ = greedy_search(model, IMAGES, 12, block_ngrams=n)
    beam_ids, _ = beam_search(model, IMAGES, 4, 12, block_ngrams=n)
    assert any(repeats(row[row > 2].tolist(), n) for row in free.numpy())
    for row in [*greedy_ids.numpy(), *beam_ids.numpy().reshape(-1, 12)]:
        assert not repeats(row[row > 2].tolist(), n)


def test_a_wide_beam_finds_the_best_of_what_is_allowed(table_model):
    model = table_model()
    finished, _ = model.sentences(1, 4, (4, 5, 6))
    allowed = [(p, s) for p, s in finished if not repeats(s, 1)]
    token_ids, log_probs = beam_search(model, IMAGES, 200, 4, block_ngrams=1)
    best = token_ids[1, 0].numpy().tolist()
    assert tuple(word for word in best if word) == allowed[0][1]
    np.testing.assert_allclose(log_probs[1, 0], allowed[0][0], atol=1e-5)


BLOCKED = np.array([False, False, False, False, True, False, True])


def test_exactly_the_blocked_words_that_were_used_are_forbidden():
    rng = np.random.default_rng(0)
    said = rng.integers(3, 7, [30, 5]).astype(np.int32)
    said[np.arange(5) >= rng.integers(0, 6, [30, 1])] = 0
    log_probs = rng.normal(size=[30, 7]).astype(np.float32)
    found = forbid_used(tf.constant(log_probs), tf.constant(said), BLOCKED)
    for row, sentence in enumerate(said.tolist()):
        for word in range(7):
            bad = word in (4, 6) and word in sentence
            assert found[row, word] == (-np.inf if bad else log_probs[row, word])


def test_searches_use_blocked_words_once(table_model):
    model = table_model(spread=0.3)
    model.table[:, :, 2] = -6.0  # END comes late
    greedy_ids, _ = greedy_search(model, IMAGES, 12, block_words=BLOCKED)
    beam_ids, _ = beam_search(model, IMAGES, 4, 12, block_words=BLOCKED)
    rows = [*greedy_ids.numpy().tolist(), *beam_ids.numpy().reshape(-1, 12).tolist()]
    assert max(row.count(word) for row in rows for word in (4, 6)) == 1
    assert max(row.count(5) for row in rows) > 1


def test_a_wide_beam_finds_the_best_without_used_words(table_model):
    model = table_model()
    finished, _ = model.sentences(1, 4, (4, 5, 6))
    allowed = [(p, s) for p, s in finished if s.count(4) < 2 and s.count(6) < 2]
    token_ids, log_probs = beam_search(model, IMAGES, 200, 4, block_words=BLOCKED)
    best = token_ids[1, 0].numpy().tolist()
    assert tuple(word for word in best if word) == allowed[0][1]
    np.testing.assert_allclose(log_probs[1, 0], allowed[0][0], atol=1e-5)


def test_a_negative_number_is_refused(table_model):
    for search in (greedy_search, beam_search):
        with pytest.raises(ValueError, match="block_ngrams must be at least 0, got -1"):
            search(table_model(), IMAGES, block_ngrams=-1)
