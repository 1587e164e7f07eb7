"""A model small enough to write down every sentence it could say."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

START_ID, END_ID = 1, 2


class TableModel:
    """Log-probabilities looked up by picture and by *all* words so far; a nest as state.

    Features are [B, 1], the number of a picture.
    """

    def __init__(self, vocabulary_size=7, pictures=3, spread=1.5, seed=0):
        rng = np.random.default_rng(seed)
        logits = spread * rng.normal(size=[pictures, 997, vocabulary_size])
        logits -= np.log(np.exp(logits).sum(-1, keepdims=True))
        self.table = logits.astype(np.float32)
        self.vocabulary_size = vocabulary_size

    def initial_state(self, features):
        batch = tf.shape(features)[0]
        return {
            "prefix": tf.zeros([batch], tf.int32),
            "picture": (tf.cast(features, tf.int32),),
        }

    def step(self, token_ids, state):
        prefix = (state["prefix"] * self.vocabulary_size + token_ids) % 997
        picture = state["picture"][0]
        index = tf.concat([picture, prefix[:, tf.newaxis]], 1)
        return tf.gather_nd(self.table, index), {"prefix": prefix, "picture": (picture,)}

    def log_prob(self, picture, sentence):
        """Sum of the log-probabilities of a sentence, END included where it is."""
        prefix, total = START_ID, 0.0
        for word in sentence:
            total += float(self.table[picture, prefix, word])
            prefix = (prefix * self.vocabulary_size + word) % 997
        return total

    def sentences(self, picture, max_length, words):
        """All (log_prob, sentence) that `max_length` tokens allow: finished ones, unfinished ones.

        Each list comes best first.
        """
        finished = [
            (*body, END_ID)
            for length in range(max_length)
            for body in itertools.product(words, repeat=length)
        ]
        unfinished = list(itertools.product(words, repeat=max_length))
        return [
            sorted(((self.log_prob(picture, s), s) for s in group), reverse=True)
            for group in (finished, unfinished)
        ]


@pytest.fixture
def table_model():
    """The class `TableModel`."""
    return TableModel
