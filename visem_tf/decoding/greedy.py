"""Greedy search: the likeliest word at every step."""

from typing import Any

import tensorflow as tf

from visem_tf.decoding.ngrams import forbid_repeated
from visem_tf.decoding.state import (
    StepwiseModel,
    batch_size,
    forbid,
    map_rows,
    row_invariants,
    split_state,
)
from visem_tf.text import END_ID, PAD_ID, START_ID


def greedy_search(
    generator: StepwiseModel,
    image_features: Any,
    max_length: int = 20,
    *,
    allow_unknown: bool = False,
    block_ngrams: int = 0,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Writes a sentence for every picture by taking the likeliest word at every step.

    Runs in graph, for any batch size; the loop ends when all sentences have. PAD and START are
    never produced.

    Args:
      generator: has `initial_state` and `step`, as `CaptionGenerator` does.
      image_features: float [B, F], or what else the generator's `initial_state` takes.
      max_length: L, the largest number of tokens, END counted.
      allow_unknown: whether UNK may be produced.
      block_ngrams: n; no n words in a row are said twice in a sentence. 0 allows it.

    Returns:
      token_ids int32 [B, L]: the words, END, then PAD; no END where L tokens were not enough.
      log_probs float32 [B]: sum of the log-probabilities of these tokens, END counted.

    Raises:
      ValueError: if `max_length` is below 1, or `block_ngrams` below 0.

    Example:
        >>> from visem_tf.models.caption_generator import CaptionGenerator
        >>> generator = CaptionGenerator(vocabulary_size=10, hidden_dim=8, word_dim=6)
        >>> token_ids, log_probs = greedy_search(generator, tf.zeros([2, 5]), max_length=7)
        >>> tuple(token_ids.shape), tuple(log_probs.shape)
        ((2, 7), (2,))
    """
    if max_length < 1:
        raise ValueError(f"max_length must be at least 1, got {max_length}")
    if block_ngrams < 0:
        raise ValueError(f"block_ngrams must be at least 0, got {block_ngrams}")
    state, whole = split_state(generator.initial_state(image_features))
    batch = batch_size(image_features)
    column = tf.range(max_length)[tf.newaxis]

    def body(t, token_ids, last, log_probs, finished, state):
        word_log_probs, next_state = generator.step(last, whole(state))
        state, _ = split_state(next_state)
        word_log_probs = forbid(word_log_probs, allow_unknown)
        if block_ngrams:
            word_log_probs = forbid_repeated(word_log_probs, token_ids, t, block_ngrams)
        word = tf.argmax(word_log_probs, axis=-1, output_type=tf.int32)
        log_prob = tf.reduce_max(word_log_probs, axis=-1)
        log_probs += tf.where(finished, 0.0, log_prob)
        word = tf.where(finished, PAD_ID, word)
        token_ids = tf.where(tf.equal(column, t), word[:, tf.newaxis], token_ids)
        finished = tf.logical_or(finished, tf.equal(word, END_ID))
        return t + 1, token_ids, word, log_probs, finished, map_rows(tf.identity, state)

    loop = (
        tf.constant(0),
        tf.fill([batch, max_length], PAD_ID),
        tf.fill([batch], START_ID),
        tf.zeros([batch]),
        tf.fill([batch], False),
        state,
    )
    invariants = (
        tf.TensorShape([]),
        tf.TensorShape([None, max_length]),
        tf.TensorShape([None]),
        tf.TensorShape([None]),
        tf.TensorShape([None]),
        row_invariants(state),
    )
    _, token_ids, _, log_probs, _, _ = tf.while_loop(
        lambda t, token_ids, last, log_probs, finished, state: tf.logical_and(
            t < max_length, tf.logical_not(tf.reduce_all(finished))
        ),
        body,
        loop,
        shape_invariants=invariants,
    )
    return token_ids, log_probs
