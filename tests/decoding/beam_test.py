"""Beam search against full enumeration, and against a plain beam search in Python."""

import numpy as np
import pytest
import tensorflow as tf

from visem_tf.decoding import beam_search, greedy_search

PAD, START, END, UNK = 0, 1, 2, 3
WORDS = (4, 5, 6)
PICTURES = np.array([[0.0], [1.0], [2.0]], np.float32)


def padded(sentence, length):
    return (*sentence, *[PAD] * (length - len(sentence)))


def reference_beams(model, picture, beam_size, max_length, alpha=0.0):
    """Beam search as one would explain it: lists of sentences, no tensors."""
    beams = [(0.0, ())]
    for _ in range(max_length):
        candidates = []
        for log_prob, sentence in beams:
            if END in sentence:
                candidates.append((log_prob, sentence))
                continue
            for word in (*WORDS, END):
                longer = (*sentence, word)
                candidates.append((model.log_prob(picture, longer), longer))
        candidates.sort(key=lambda beam: beam[0] / len(beam[1]) ** alpha, reverse=True)
        beams = candidates[:beam_size]
    return [b for b in beams if END in b[1]] + [b for b in beams if END not in b[1]]


@pytest.mark.parametrize("seed", range(3))
def test_wide_beam_finds_every_sentence_in_order(table_model, seed):
    model = table_model(seed=seed)
    max_length = 3
    finished, unfinished = model.sentences(0, max_length, WORDS)
    size = len(finished) + len(unfinished)
    token_ids, log_probs = beam_search(model, PICTURES, beam_size=size, max_length=max_length)
    for picture in range(3):
        finished, unfinished = model.sentences(picture, max_length, WORDS)
        expected = finished + unfinished
        np.testing.assert_allclose(log_probs[picture], [p for p, _ in expected], atol=1e-5)
        assert [tuple(row) for row in token_ids[picture].numpy()] == [
            padded(sentence, max_length) for _, sentence in expected
        ]


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("beam_size", [1, 2, 3, 7])
@pytest.mark.parametrize("alpha", [0.0, 0.7])
def test_all_beams_equal_those_of_plain_python(table_model, seed, beam_size, alpha):
    model = table_model(seed=seed)
    token_ids, log_probs = beam_search(
        model, PICTURES, beam_size=beam_size, max_length=4, length_normalisation=alpha
    )
    for picture in range(3):
        expected = reference_beams(model, picture, beam_size, 4, alpha)
        np.testing.assert_allclose(log_probs[picture], [p for p, _ in expected], atol=1e-5)
        assert [tuple(row) for row in token_ids[picture].numpy()] == [
            padded(sentence, 4) for _, sentence in expected
        ]


@pytest.mark.parametrize("seed", range(5))
def test_one_beam_is_greedy_search(table_model, seed):
    model = table_model(seed=seed)
    token_ids, log_probs = beam_search(model, PICTURES, beam_size=1, max_length=6)
    greedy_ids, greedy_log_probs = greedy_search(model, PICTURES, max_length=6)
    np.testing.assert_array_equal(token_ids[:, 0], greedy_ids)
    np.testing.assert_allclose(log_probs[:, 0], greedy_log_probs, atol=1e-6)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("beam_size", [5, 20])
def test_a_beam_is_not_below_greedy_search(table_model, seed, beam_size):
    """Of finished sentences. No theorem for narrow beams, but true of these models."""
    model = table_model(seed=seed)
    token_ids, log_probs = beam_search(model, PICTURES, beam_size=beam_size, max_length=6)
    greedy_ids, greedy_log_probs = greedy_search(model, PICTURES, max_length=6)
    finished = np.any(greedy_ids.numpy() == END, axis=-1)
    assert np.any(token_ids.numpy()[finished, 0] == END, axis=-1).all()
    assert (log_probs.numpy()[finished, 0] >= greedy_log_probs.numpy()[finished] - 1e-5).all()


class Script:
    """Says what a dictionary from sentences so far to {word: probability} says."""

    def __init__(self, probabilities, vocabulary_size=7):
        self.vocabulary_size = vocabulary_size
        self.keys = [*probabilities, "other"]
        self.log_probs = np.full([len(self.keys), vocabulary_size], -50.0, np.float32)
        self.next = np.full([len(self.keys), vocabulary_size], len(self.keys) - 1, np.int32)
        for row, (prefix, words) in enumerate(probabilities.items()):
            for word, probability in words.items():
                self.log_probs[row, word] = np.log(probability)
                if (*prefix, word) in probabilities:
                    self.next[row, word] = self.keys.index((*prefix, word))
        self.next[:, START] = 0

    def initial_state(self, features):
        return tf.zeros([tf.shape(features)[0]], tf.int32)

    def step(self, token_ids, state):
        row = tf.gather_nd(self.next, tf.stack([state, token_ids], 1))
        return tf.gather(self.log_probs, row), row


def test_a_finished_beam_keeps_its_score_and_stays_a_candidate():
    model = Script({(): {END: 0.4, 4: 0.6}, (4,): {5: 0.6, END: 0.4}, (4, 5): {END: 1.0}})
    token_ids, log_probs = beam_search(model, PICTURES[:1], beam_size=2, max_length=5)
    # (END) 0.4 was there from the first step; (4 5 END) 0.36 came two later; (4 END) 0.24 is out.
    assert token_ids[0].numpy().tolist() == [[END, 0, 0, 0, 0], [4, 5, END, 0, 0]]
    np.testing.assert_allclose(np.exp(log_probs[0]), [0.4, 0.36], rtol=1e-5)


def test_a_finished_sentence_wins_over_a_likelier_unfinished_one():
    model = Script({(): {END: 0.1, 4: 0.9}, (4,): {4: 1.0}, (4, 4): {4: 1.0}})
    token_ids, log_probs = beam_search(model, PICTURES[:1], beam_size=2, max_length=3)
    assert token_ids[0].numpy().tolist() == [[END, 0, 0], [4, 4, 4]]
    np.testing.assert_allclose(np.exp(log_probs[0]), [0.1, 0.9], rtol=1e-5)


def test_the_best_unfinished_sentence_when_none_is_finished():
    model = Script({(): {4: 0.3, 5: 0.7}, (4,): {4: 1.0}, (5,): {5: 0.6, 6: 0.4}})
    token_ids, log_probs = beam_search(model, PICTURES[:1], beam_size=2, max_length=2)
    assert token_ids[0].numpy().tolist() == [[5, 5], [4, 4]]
    np.testing.assert_allclose(np.exp(log_probs[0]), [0.42, 0.3], rtol=1e-5)


def test_length_normalisation_ranks_and_leaves_the_sums():
    model = Script({(): {END: 0.4, 4: 0.6}, (4,): {5: 0.6, END: 0.4}, (4, 5): {END: 1.0}})
    token_ids, log_probs = beam_search(
        model, PICTURES[:1], beam_size=2, max_length=5, length_normalisation=1.0
    )
    assert token_ids[0].numpy().tolist() == [[4, 5, END, 0, 0], [4, END, 0, 0, 0]]
    np.testing.assert_allclose(np.exp(log_probs[0]), [0.36, 0.24], rtol=1e-5)


def test_fewer_sentences_than_beams(table_model):
    model = table_model()
    token_ids, log_probs = beam_search(model, PICTURES, beam_size=9, max_length=1)
    np.testing.assert_array_equal(token_ids[:, 0, 0], [END] * 3)  # finished first
    assert np.isfinite(log_probs[:, :4]).all()  # END and three words
    assert np.isneginf(log_probs[:, 4:]).all()
    assert (token_ids.numpy()[:, 4:] == PAD).all()


@pytest.mark.parametrize("allow_unknown", [False, True])
def test_unknown_pad_and_start_are_not_said(table_model, allow_unknown):
    model = table_model()
    model.table[:, :, UNK] = -0.01
    model.table[:, :, [PAD, START]] = 0.0
    token_ids, _ = beam_search(
        model, PICTURES, beam_size=3, max_length=4, allow_unknown=allow_unknown
    )
    ids = token_ids.numpy()
    assert (ids == UNK).any() == allow_unknown
    assert (ids != START).all()
    for sentence in ids.reshape(-1, 4):  # PAD stands after END only
        words = sentence.tolist()
        if PAD in words:
            assert words[words.index(PAD) - 1] == END
            assert not any(words[words.index(PAD) :])


def test_any_batch_size_in_one_graph(table_model):
    model = table_model()
    traces = []

    @tf.function(input_signature=[tf.TensorSpec([None, 1], tf.float32)])
    def search(features):
        traces.append(features)
        return beam_search(model, features, beam_size=3, max_length=4)

    all_ids, all_log_probs = search(tf.constant(PICTURES))
    for picture in range(3):
        token_ids, log_probs = search(tf.constant(PICTURES[picture : picture + 1]))
        np.testing.assert_array_equal(token_ids[0], all_ids[picture])
        np.testing.assert_allclose(log_probs[0], all_log_probs[picture], atol=1e-6)
    token_ids, log_probs = search(tf.zeros([0, 1]))
    assert token_ids.shape == (0, 3, 4)
    assert log_probs.shape == (0, 3)
    assert len(traces) == 1


def test_the_loop_ends_when_all_beams_have(table_model):
    calls = []

    class Counting(table_model):
        def step(self, token_ids, state):
            calls.append(1)
            return super().step(token_ids, state)

    model = Counting()
    model.table[:, :, END] = 5.0
    beam_search(model, PICTURES, beam_size=1, max_length=50)
    assert len(calls) == 1  # run eagerly: one call a step


@pytest.mark.parametrize("name", ["beam_size", "max_length"])
def test_sizes_below_one_are_refused(table_model, name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        beam_search(table_model(), PICTURES, **{name: 0})


def test_only_growing_beams_are_asked(table_model):
    class Counting:
        def __init__(self, model):
            self.model, self.asked = model, []

        def initial_state(self, features):
            return self.model.initial_state(features)

        def step(self, token_ids, state):
            assert token_ids.shape == state["prefix"].shape
            self.asked.append(len(token_ids))
            assert not np.any(token_ids == END)
            return self.model.step(token_ids, state)

    counting = Counting(table_model(seed=1))
    token_ids, _ = beam_search(counting, PICTURES, beam_size=3, max_length=5)
    assert counting.asked[0] == 3  # a picture begins with one beam
    assert max(counting.asked) <= 9
    assert min(counting.asked[1:]) < 9
    assert np.any(token_ids == END)
