"""Every word attends to regions: the text-to-image score of SCAN (Lee and others, ECCV 2018).

    c_it = cos(v_i, s_t)
    n_it = max(0, c_it) / sqrt(Σ_u max(0, c_iu)²)        over the words u of the sentence
    α_it = softmax_i(λ n_it)                             λ: the sharpness
    S    = mean_t cos(s_t, Σ_i α_it v_i)                 v of length 1

The attended vectors themselves, one a word and image, are never made: their products with the word
are Σ_i α_it c_it, and their lengths come from the products of an image's regions with each other.
"""

import tensorflow as tf

from visem_tf.scores import Products, Score

_EPSILON = 1e-8


def of_words(products: Products, sharpness: float) -> tf.Tensor:
    """cos(s_t, Σ_i α_it v_i); see `Score`."""
    values, mask = products.values, products.mask
    positive = tf.nn.relu(values)
    squares = tf.math.unsorted_segment_sum(
        tf.square(positive), products.sentence, products.sentence_count
    )  # [N, B, R]
    share = positive * tf.gather(tf.math.rsqrt(squares + _EPSILON), products.sentence)
    logits = sharpness * share
    if mask is not None:
        logits = tf.where(mask, logits, tf.constant(float("-inf"), logits.dtype))
    weights = tf.nn.softmax(logits)  # [words, B, R]
    with_word = tf.reduce_sum(weights * values, axis=2)
    by_image = tf.transpose(weights, [1, 0, 2])  # [B, words, R]
    regions = products.regions
    squared_length = tf.reduce_sum(
        tf.matmul(by_image, tf.matmul(regions, regions, transpose_b=True)) * by_image, axis=2
    )
    return with_word * tf.math.rsqrt(tf.transpose(squared_length) + _EPSILON)


SCORE = Score(of_words, unit=True, mean=True)
