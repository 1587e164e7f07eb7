"""Every word picks its best region by the cosine: S = mean_t max_i cos(v_i, s_t).

It lies between -1 and 1 whatever the sentence's length and the vectors', as the margins of VSE++
(Faghri and others, 2018) and the temperatures of contrastive losses want it.
"""

import tensorflow as tf

from visem_tf.scores import Products, Score, best, without_padding


def of_words(products: Products, sharpness: float) -> tf.Tensor:
    """max_i cos(v_i, s_t); see `Score`."""
    return best(without_padding(products))


SCORE = Score(of_words, unit=True, mean=True)
