"""Function words in the chain MRF: they name nothing in an image, and follow their neighbours."""

import tensorflow as tf


def weigh_function_words(
    similarities: tf.Tensor,
    is_function: tf.Tensor,
    beta: float | tf.Tensor,
    *,
    weight: float = 1.0,
    boundary: float = 1.0,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Changes the terms of the MRF (`smooth_alignment`) by the kinds of words.

        E(a) = Σ_j -u_j (v_{a_j} · s_j) + Σ_{j<N} -β_{j+1} [a_j = a_{j+1}]

    u_j is `weight` for function words and 1 for others. β_j is `boundary` times β where word j is a
    function word after another word, since a phrase usually ends there, and β elsewhere. With both
    at 1, this is the MRF of the paper. With a weight of 0, a function word takes the region of the
    next other word, because the MRF stays in a region as long as possible when it traces back.

    Args:
        similarities: Products v_i · s_j, float tensor [B, T, R].
        is_function: Boolean tensor [B, T], True for function words.
        beta: Reward β for neighbouring words that share a region, a scalar.
        weight: Weight u of function words, at least 0.
        boundary: Factor of β between a word and a function word after it, at least 0.

    Returns:
        Weighted similarities [B, T, R], and the rewards of all words, [B, T].

    Example:
        >>> import tensorflow as tf
        >>> from visem_tf.alignment.mrf import smooth_alignment
        >>> dog_in_snow = tf.constant([[[3.0, 0.0], [0.5, 0.0], [0.0, 2.0]]])
        >>> terms = weigh_function_words(dog_in_snow, [[False, True, False]], 0.1, weight=0.0)
        >>> smooth_alignment(dog_in_snow, beta=0.1).numpy()
        array([[0, 0, 1]], dtype=int32)
        >>> smooth_alignment(terms[0], beta=terms[1]).numpy()
        array([[0, 1, 1]], dtype=int32)
    """
    similarities = tf.convert_to_tensor(similarities)
    is_function = tf.convert_to_tensor(is_function)
    factors = tf.where(is_function, tf.cast(weight, similarities.dtype), 1)
    # No product of 0 and minus infinity, the similarity of a padded region, is NaN.
    weighted = tf.math.multiply_no_nan(similarities, factors[..., tf.newaxis])
    after_other = tf.pad(~is_function[:, :-1], [[0, 0], [1, 0]])
    ends_phrase = tf.logical_and(is_function, after_other[:, : tf.shape(is_function)[1]])
    beta = tf.cast(beta, similarities.dtype)
    return weighted, tf.where(ends_phrase, beta * tf.cast(boundary, beta.dtype), beta)
