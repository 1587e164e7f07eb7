"""The chain MRF that smooths an alignment of words with regions (paper, section 3.1.4).

For the words 1..N of a sentence and the regions 1..M of its image, choose a_1..a_N to minimise

    E(a) = Σ_j -(v_{a_j} · s_j) + Σ_{j<N} -β [a_j = a_{j+1}]

Staying in a region is rewarded by β, and all changes cost the same. The best chain that ends in
region i therefore either stays in i or continues the best chain of all, so that a step of the
dynamic programme takes O(M) instead of O(M²).
"""

import numpy as np
import tensorflow as tf


def smooth_alignment(
    similarities: tf.Tensor,
    word_mask: tf.Tensor | None = None,
    region_mask: tf.Tensor | None = None,
    *,
    beta: float | tf.Tensor = 0.0,
) -> tf.Tensor:
    """Finds the regions that minimise E exactly, for a batch of sentences.

    With beta = 0, every word takes its own best region; with a large beta, all words take the same
    one. Of equally good solutions, the function takes the lowest region for the last word and stays
    in it as long as possible.

    Args:
        similarities: Products v_i · s_j, float tensor [B, T, R]. Minus infinity forbids a region.
        word_mask: Boolean tensor [B, T], True for real words. None means that all are real. Padded
            words are left out of the chain.
        region_mask: Boolean tensor [B, R], True for real regions. None means that all are real.
            Padded regions are never chosen.
        beta: Reward for staying in a region, at least 0, in the unit of the similarities. A number
            as in the paper, or a float tensor [B, T] of rewards for every word that has the region
            of the word before it; the first word's reward is not used.

    Returns:
        Region of every word, int32 tensor [B, T]; -1 for padded words.

    Raises:
        ValueError: If `beta` is negative.

    Example:
        >>> import tensorflow as tf
        >>> similarities = tf.constant([[[3.0, 0.0], [0.9, 1.0], [3.0, 0.0]]])
        >>> smooth_alignment(similarities, beta=0.0).numpy()
        array([[0, 1, 0]], dtype=int32)
        >>> smooth_alignment(similarities, beta=1.0).numpy()
        array([[0, 0, 0]], dtype=int32)
    """
    if not tf.is_tensor(beta) and not np.all(np.asarray(beta) >= 0):
        raise ValueError(f"beta must be at least 0, not {beta!r}")
    similarities = tf.convert_to_tensor(similarities)
    shape = tf.shape(similarities)
    if word_mask is None:
        word_mask = tf.ones(shape[:2], tf.bool)
    if region_mask is not None:
        forbidden = tf.constant(float("-inf"), similarities.dtype)
        allowed = tf.convert_to_tensor(region_mask)[:, tf.newaxis]
        similarities = tf.where(allowed, similarities, forbidden)
    # One more padded word, so that a batch without words needs no special case.
    by_word = tf.transpose(tf.pad(similarities, [[0, 0], [0, 1], [0, 0]]), [1, 0, 2])  # [T+1, B, R]
    real = tf.pad(tf.cast(word_mask, tf.int32), [[0, 0], [0, 1]])
    real = tf.cast(tf.transpose(real), tf.bool)[..., tf.newaxis]  # [T+1, B, 1]
    beta = tf.broadcast_to(tf.cast(beta, similarities.dtype), shape[:2])
    beta = tf.transpose(tf.pad(beta, [[0, 0], [0, 1]]))[..., tf.newaxis]  # [T+1, B, 1]

    def extend(state, word):
        """Extends the best chains that end in each region by a word.

        The scores (-E) are taken relative to the best one and less the reward. This changes no
        decision, and it keeps the scores small, so that a large beta costs no precision.
        """
        scores, _, _ = state
        similarity, is_real, reward = word
        deficit = scores - tf.reduce_max(scores, axis=1, keepdims=True)
        stays = (deficit >= -reward) | ~is_real  # [B, R]
        came_from = tf.argmax(scores, axis=1, output_type=tf.int32)  # [B], where it does not stay
        extended = similarity + tf.maximum(deficit, -reward)
        return tf.where(is_real, extended, scores), stays, came_from

    start = (
        tf.zeros([shape[0], shape[2]], similarities.dtype),
        tf.zeros([shape[0], shape[2]], tf.bool),
        tf.zeros([shape[0]], tf.int32),
    )
    scores, stays, came_from = tf.scan(extend, (by_word, real, beta), initializer=start)

    def trace(region, step):
        """Returns the region of the previous word, given that of this word."""
        stays, came_from = step
        stays = tf.gather(stays, region, axis=1, batch_dims=1)
        return tf.where(stays, region, came_from)

    last = tf.argmax(scores[-1], axis=1, output_type=tf.int32)
    before = tf.scan(trace, (stays, came_from), initializer=last, reverse=True)  # [T+1, B]
    regions = tf.transpose(before[1:])  # the padded word at the end gives the region before it
    return tf.where(word_mask, regions, -1)
