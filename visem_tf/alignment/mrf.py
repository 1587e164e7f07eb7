"""From words to snippets: smoothing an alignment by a chain MRF (section 2 of the paper).

For the words 1..N of a sentence and the regions 1..M of its image, choose a_1..a_N to minimise

    E(a) = sum_j -(v_{a_j} . s_j)  +  sum_{j<N} -beta [a_j = a_{j+1}]

Staying in a region is rewarded by beta, and all changes cost the same. The best chain that ends in
region i therefore either stays in i or comes from the best chain of all, which makes a step of the
dynamic programme O(M), not O(M^2).
"""

import numpy as np
import tensorflow as tf


def smooth_alignment(
    similarities: tf.Tensor,
    word_mask: tf.Tensor | None = None,
    region_mask: tf.Tensor | None = None,
    *,
    beta: float = 0.0,
) -> tf.Tensor:
    """The regions that minimise E, exactly, for many sentences at a time.

    beta = 0 gives every word its own best region; a large beta gives one region to all. Of equally
    good answers, it takes the lowest region for the last word and stays as long as it can.

    Args:
      similarities: v_i . s_j, float [B, T, R]; minus infinity forbids a region.
      word_mask: bool [B, T], True = real; None: all are. Padded words are left out of the chain.
      region_mask: bool [B, R], True = real; None: all are. Padded regions are never chosen.
      beta: the reward of staying, at least 0, in the unit of the similarities.

    Returns:
      The region of every word, int32 [B, T]; -1 for padded words.

    Raises:
      ValueError: if `beta` is negative.

    Example:
      >>> import tensorflow as tf
      >>> similarities = tf.constant([[[3.0, 0.0], [0.9, 1.0], [3.0, 0.0]]])
      >>> smooth_alignment(similarities, beta=0.0).numpy()
      array([[0, 1, 0]], dtype=int32)
      >>> smooth_alignment(similarities, beta=1.0).numpy()
      array([[0, 0, 0]], dtype=int32)
    """
    if not tf.is_tensor(beta) and not beta >= 0:
        raise ValueError(f"beta must be at least 0, not {beta!r}")
    similarities = tf.convert_to_tensor(similarities)
    shape = tf.shape(similarities)
    if word_mask is None:
        word_mask = tf.ones(shape[:2], tf.bool)
    if region_mask is not None:
        forbidden = tf.constant(float("-inf"), similarities.dtype)
        allowed = tf.convert_to_tensor(region_mask)[:, tf.newaxis]
        similarities = tf.where(allowed, similarities, forbidden)
    # One padded word more, so that a batch without any word is no special case.
    by_word = tf.transpose(tf.pad(similarities, [[0, 0], [0, 1], [0, 0]]), [1, 0, 2])  # [T+1, B, R]
    real = tf.pad(tf.cast(word_mask, tf.int32), [[0, 0], [0, 1]])
    real = tf.cast(tf.transpose(real), tf.bool)[..., tf.newaxis]  # [T+1, B, 1]
    beta = tf.cast(beta, similarities.dtype)

    def extend(state, word):
        """Extends the best chains that end in each region, whose scores (-E) are given, by a word.

        Scores are taken relative to the best and less beta, which changes no decision: they do not
        grow, and no precision is lost to a large beta.
        """
        scores, _, _ = state
        similarity, is_real = word
        deficit = scores - tf.reduce_max(scores, axis=1, keepdims=True)
        stays = (deficit >= -beta) | ~is_real  # [B, R]
        came_from = tf.argmax(scores, axis=1, output_type=tf.int32)  # [B], where it does not stay
        extended = similarity + tf.maximum(deficit, -beta)
        return tf.where(is_real, extended, scores), stays, came_from

    nothing = (
        tf.zeros([shape[0], shape[2]], similarities.dtype),
        tf.zeros([shape[0], shape[2]], tf.bool),
        tf.zeros([shape[0]], tf.int32),
    )
    scores, stays, came_from = tf.scan(extend, (by_word, real), initializer=nothing)

    def trace(region, step):
        """The region of the word before, given that of this word."""
        stays, came_from = step
        stays = tf.gather(stays, region, axis=1, batch_dims=1)
        return tf.where(stays, region, came_from)

    last = tf.argmax(scores[-1], axis=1, output_type=tf.int32)
    before = tf.scan(trace, (stays, came_from), initializer=last, reverse=True)  # [T+1, B]
    regions = tf.transpose(before[1:])  # the padded word at the end names the one before it
    return tf.where(word_mask, regions, -1)


def find_segments(
    regions: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The snippets of text: maximal runs of words with the same region.

    Args:
      regions: int [S, T], as of `smooth_alignment`; negative where there is no word.

    Returns:
      Four int arrays [M], ordered by sentence and word: the sentence of every run, its first and
      its last word (inclusive), and its region.

    Raises:
      ValueError: if `regions` is not a matrix.

    Example:
      >>> sentence, first, last, region = find_segments(np.array([[4, 4, 7, -1]]))
      >>> first, last, region
      (array([0, 2]), array([1, 2]), array([4, 7]))
    """
    regions = np.asarray(regions)
    if regions.ndim != 2:
        raise ValueError(f"regions must have shape [S, T], not {regions.shape}")
    real = regions >= 0
    changes = regions[:, 1:] != regions[:, :-1]
    edge = np.ones((len(regions), 1), bool)
    sentence, first = np.nonzero(real & np.hstack([edge, changes])[:, : regions.shape[1]])
    _, last = np.nonzero(real & np.hstack([changes, edge])[:, : regions.shape[1]])
    return sentence, first, last, regions[sentence, first]
