"""No words in a row twice."""

import numpy as np
import pytest
import tensorflow as tf

from visem_tf.decoding import beam_search, greedy_search
from visem_tf.decoding.ngrams import forbid_repeated

PICTURES = np.array([[0.0], [1.0], [2.0]], np.float32)


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
    free, _ = greedy_search(model, PICTURES, 12)
    greedy_ids, _ = greedy_search(model, PICTURES, 12, block_ngrams=n)
    beam_ids, _ = beam_search(model, PICTURES, 4, 12, block_ngrams=n)
    assert any(repeats(row[row > 2].tolist(), n) for row in free.numpy())
    for row in [*greedy_ids.numpy(), *beam_ids.numpy().reshape(-1, 12)]:
        assert not repeats(row[row > 2].tolist(), n)


def test_a_wide_beam_finds_the_best_of_what_is_allowed(table_model):
    model = table_model()
    finished, _ = model.sentences(1, 4, (4, 5, 6))
    allowed = [(p, s) for p, s in finished if not repeats(s, 1)]
    token_ids, log_probs = beam_search(model, PICTURES, 200, 4, block_ngrams=1)
    best = token_ids[1, 0].numpy().tolist()
    assert tuple(word for word in best if word) == allowed[0][1]
    np.testing.assert_allclose(log_probs[1, 0], allowed[0][0], atol=1e-5)


def test_a_negative_number_is_refused(table_model):
    for search in (greedy_search, beam_search):
        with pytest.raises(ValueError, match="block_ngrams must be at least 0, got -1"):
            search(table_model(), PICTURES, block_ngrams=-1)
