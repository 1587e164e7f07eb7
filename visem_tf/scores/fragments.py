"""The earlier score of Deep Fragments: S = Σ_t Σ_i max(0, v_i · s_t)."""

import tensorflow as tf

from visem_tf.scores import Products, Score


def of_words(products: Products, sharpness: float) -> tf.Tensor:
    """Σ_i max(0, v_i · s_t); see `Score`."""
    values = products.values
    if products.mask is not None:
        values = tf.where(products.mask, values, 0)
    return tf.reduce_sum(tf.nn.relu(values), axis=2)


SCORE = Score(of_words, unit=False, mean=False)
