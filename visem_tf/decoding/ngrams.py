"""Keeps a search from saying the same words twice in one sentence."""

import tensorflow as tf

from visem_tf.text import PAD_ID


def forbid_repeated(
    log_probs: tf.Tensor, token_ids: tf.Tensor, length: tf.Tensor, n: int
) -> tf.Tensor:
    """Sets words to minus infinity that would repeat n words in a row.

    Args:
      log_probs: of the next words, float [B, V].
      token_ids: int32 [B, L], what was said so far, PAD behind it.
      length: how many tokens that is, the same in every row.
      n: 1 forbids every word that was said; it must be at least 1.

    Returns:
      float [B, V].

    Example:
        >>> said = tf.constant([[4, 5, 4, 0]])  # with n = 2 the next word must not be 5
        >>> forbid_repeated(tf.zeros([1, 7]), said, tf.constant(3), n=2).numpy()
        array([[  0.,   0.,   0.,   0.,   0., -inf,   0.]], dtype=float32)
    """
    batch, vocabulary = tf.unstack(tf.shape(log_probs))
    places = token_ids.shape[1] - n + 1  # where n words can begin
    if places < 2:
        return log_probs
    # An earlier beginning counts where its n words had been said before the last n - 1.
    repeated = tf.range(places)[tf.newaxis] <= length - n
    repeated = tf.repeat(repeated, batch, axis=0)
    for offset in range(n - 1):
        last = tf.gather(token_ids, tf.maximum(length - n + 1 + offset, 0), axis=1)
        same = tf.equal(token_ids[:, offset : offset + places], last[:, tf.newaxis])
        repeated = tf.logical_and(repeated, same)
    word = tf.where(repeated, token_ids[:, n - 1 :], PAD_ID)  # PAD is never said anyway
    row = tf.repeat(tf.range(batch)[:, tf.newaxis], places, axis=1)
    times = tf.scatter_nd(
        tf.reshape(tf.stack([row, word], axis=-1), [-1, 2]),
        tf.reshape(tf.cast(repeated, log_probs.dtype), [-1]),
        tf.stack([batch, vocabulary]),
    )
    return tf.where(times > 0, -float("inf"), log_probs)
