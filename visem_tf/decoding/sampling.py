"""Sentences drawn from a model's own probabilities, word by word."""

from typing import Any

import tensorflow as tf

from visem_tf.decoding.state import (
    StepwiseModel,
    batch_size,
    forbid,
    map_rows,
    row_invariants,
    split_state,
)
from visem_tf.text import END_ID, PAD_ID, START_ID


def sample_sentences(
    generator: StepwiseModel,
    image_features: Any,
    samples: int,
    max_length: int = 20,
    *,
    seed: tf.Tensor,
    allow_unknown: bool = False,
) -> tf.Tensor:
    """Draws sentences for every picture.

    Runs in graph, for any batch size; the loop ends when all sentences have. PAD and START are
    never drawn.

    Args:
      generator: has `initial_state` and `step`, as `CaptionGenerator` does.
      image_features: float [B, F], or what else the generator's `initial_state` takes.
      samples: K, sentences a picture.
      max_length: L, the largest number of tokens, END counted.
      seed: int32 [2]; the same seed draws the same sentences.
      allow_unknown: whether UNK may be drawn.

    Returns:
      token_ids int32 [B, K, L]: the words, END, then PAD; no END where L tokens were not enough.

    Raises:
      ValueError: if `samples` or `max_length` is below 1.

    Example:
        >>> from visem_tf.models.caption_generator import CaptionGenerator
        >>> generator = CaptionGenerator(vocabulary_size=10, hidden_dim=8, word_dim=6)
        >>> tuple(sample_sentences(generator, tf.zeros([2, 5]), 3, 7, seed=[0, 1]).shape)
        (2, 3, 7)
    """
    for name, value in (("samples", samples), ("max_length", max_length)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    batch = batch_size(image_features)
    seed = tf.cast(seed, tf.int32)
    column = tf.range(max_length)
    state, whole = split_state(generator.initial_state(image_features))
    state = map_rows(lambda tensor: tf.repeat(tensor, samples, axis=0), state)

    def body(t, token_ids, last, finished, state):
        log_probs, after = generator.step(last, whole(state))
        state, _ = split_state(after)
        log_probs = forbid(log_probs, allow_unknown)
        drawn = tf.random.stateless_categorical(
            log_probs, 1, seed=seed + tf.stack([0, t]), dtype=tf.int32
        )[:, 0]
        word = tf.where(finished, PAD_ID, drawn)
        token_ids = tf.where(tf.equal(column, t), word[:, tf.newaxis], token_ids)
        finished = tf.logical_or(finished, tf.equal(word, END_ID))
        return t + 1, token_ids, word, finished, map_rows(tf.identity, state)

    rows = batch * samples
    loop = (
        tf.constant(0),
        tf.fill([rows, max_length], PAD_ID),
        tf.fill([rows], START_ID),
        tf.fill([rows], False),
        state,
    )
    free = tf.TensorShape([None])
    invariants = (
        tf.TensorShape([]),
        tf.TensorShape([None, max_length]),
        free,
        free,
        row_invariants(state),
    )
    _, token_ids, _, _, _ = tf.while_loop(
        lambda t, token_ids, last, finished, state: tf.logical_and(
            t < max_length, tf.logical_not(tf.reduce_all(finished))
        ),
        body,
        loop,
        shape_invariants=invariants,
    )
    return tf.reshape(token_ids, [batch, samples, max_length])
