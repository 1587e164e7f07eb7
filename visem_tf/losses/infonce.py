"""Contrastive cross-entropy in both directions (InfoNCE, van den Oord and others, 2018).

    C = Σ_k [ −log softmax_l(S_kl / τ)_k  −  log softmax_l(S_lk / τ)_k ]     τ: the temperature

Other sentences of the same image are left out of the sums, rather than taken for negatives.
"""

import tensorflow as tf

from visem_tf.losses import negatives


def loss(
    scores: tf.Tensor, image_ids: tf.Tensor, *, margin: float = 1.0, temperature: float = 1.0
) -> tf.Tensor:
    """C; see `Loss`.

    Example:
      >>> import tensorflow as tf
      >>> round(float(loss(tf.zeros([2, 2]), tf.constant([7, 8]))), 4)  # 4 log 2
      2.7726
    """
    count = tf.shape(scores)[0]
    counts = tf.logical_or(negatives(image_ids), tf.eye(count, dtype=tf.bool))
    logits = tf.where(counts, scores / temperature, tf.constant(float("-inf"), scores.dtype))
    true = tf.linalg.diag_part(logits)
    total = tf.reduce_logsumexp(logits, axis=0) + tf.reduce_logsumexp(logits, axis=1)
    return tf.reduce_sum(total - 2 * true)
