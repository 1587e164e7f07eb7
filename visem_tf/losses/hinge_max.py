"""A hinge for the hardest negative of every pair only (VSE++, Faghri and others, 2018).

    C = Σ_k [ max_{l≠k} max(0, S_kl − S_kk + margin) + max_{l≠k} max(0, S_lk − S_kk + margin) ]

From a fresh model it learns slowly or not at all; some epochs of `hinge_sum` before it help
(`align.hinge_warmup_epochs`).
"""

import tensorflow as tf

from visem_tf.losses import hinges, negatives


def loss(
    scores: tf.Tensor, image_ids: tf.Tensor, *, margin: float = 1.0, temperature: float = 1.0
) -> tf.Tensor:
    """C; see `Loss`.

    Example:
      >>> import tensorflow as tf
      >>> scores = tf.constant([[2.0, 1.5, 1.25], [0.0, 1.0, 0.0], [0.0, 0.0, 2.0]])
      >>> float(loss(scores, tf.constant([7, 8, 9])))  # 0.5 in a row, 1.5 and 0.25 in columns
      2.25
    """
    apart = negatives(image_ids)
    sentences_for_image, images_for_sentence = (
        tf.where(apart, hinge, 0) for hinge in hinges(scores, margin)
    )
    return tf.reduce_sum(tf.reduce_max(sentences_for_image, axis=1)) + tf.reduce_sum(
        tf.reduce_max(images_for_sentence, axis=0)
    )
