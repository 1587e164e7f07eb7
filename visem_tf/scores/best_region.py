"""The paper's score: every word picks its best region, S = Σ_t max_i v_i · s_t (section 1)."""

import tensorflow as tf

from visem_tf.scores import Products, Score, best, without_padding


def of_words(products: Products, sharpness: float) -> tf.Tensor:
    """max_i v_i · s_t; see `Score`."""
    return best(without_padding(products))


SCORE = Score(of_words, unit=False, mean=False)
