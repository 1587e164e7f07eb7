"""The paper's objective: a hinge for every negative of every pair (section 1).

C = Σ_k [ Σ_{l≠k} max(0, S_kl − S_kk + margin)     rank sentences for image k
        + Σ_{l≠k} max(0, S_lk − S_kk + margin) ]   rank images for sentence k
"""

import tensorflow as tf

from visem_tf.losses import hinges, negatives


def loss(
    scores: tf.Tensor, image_ids: tf.Tensor, *, margin: float = 1.0, temperature: float = 1.0
) -> tf.Tensor:
    """C; see `Loss`.

    Example:
      >>> import tensorflow as tf
      >>> float(loss(tf.constant([[2.0, 1.5], [0.0, 1.0]]), tf.constant([7, 8])))
      2.0
    """
    sentences_for_image, images_for_sentence = hinges(scores, margin)
    both = sentences_for_image + images_for_sentence
    return tf.reduce_sum(tf.where(negatives(image_ids), both, 0))
