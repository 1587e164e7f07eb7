"""Scores of words with images, from which the scores of sentences are made (section 3.1.3).

In the paper, every word of a sentence chooses its best region of an image, and its contribution to
their score is max_i v_i · s_t. `SCORES` holds this score and its variants by name. To add a score,
write the function that computes the contribution of each word, add an entry to `SCORES`, and add
its name to `visem_tf.config.registry`.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import tensorflow as tf

_EPSILON = 1e-8


class Products(NamedTuple):
    """Products of all words of N sentences with all regions of B images.

    Attributes:
        values: Products v_i · s_t, float tensor [words, B, R]; cosines for a score with unit
            vectors.
        mask: Boolean tensor [B, R], True for real regions, or None if all are real.
        regions: Region embeddings v_i, float tensor [B, R, D], of length 1 for a score with unit
            vectors.
        sentence: Index of the sentence of every word, int32 tensor [words].
        sentence_count: N, int32 scalar.
    """

    values: tf.Tensor
    mask: tf.Tensor | None
    regions: tf.Tensor
    sentence: tf.Tensor
    sentence_count: tf.Tensor


class ScoreOptions(NamedTuple):
    """Numbers that some scores use.

    Attributes:
        sharpness: Factor λ of "attention", "hard_alignment" and "negative_aware".
        threshold: Cosine τ of "negative_aware" below which a word has no region.
    """

    sharpness: float = 9.0
    threshold: float = 0.0


class Score(NamedTuple):
    """A way to score images with sentences.

    Attributes:
        of_words: Function from `Products` and `ScoreOptions` to the contribution of every word to
            the score of every image, [words, B]. Padded regions must not change it.
        unit: Whether embeddings are scaled to length 1 first.
        pooling: How the contributions c_t of a sentence's words become its score: their sum, their
            mean, or log Σ_t exp(λ c_t) / λ, a smooth maximum.
    """

    of_words: Callable[[Products, ScoreOptions], tf.Tensor]
    unit: bool = False
    pooling: Literal["sum", "mean", "log_sum_exp"] = "sum"


def best_region(products: Products, options: ScoreOptions) -> tf.Tensor:
    """Computes max_i v_i · s_t: the score of the paper and, for unit vectors, "cosine".

    The mean of cosines lies between -1 and 1 whatever the lengths of the sentence and the vectors,
    which suits the margins of VSE++ (Faghri et al., 2018) and the temperatures of contrastive
    losses. "hard_alignment" takes the smooth maximum of the cosines over the words instead (CHAN,
    Pan, Wu and Zhang, CVPR 2023), so that the words with the surest regions count most.
    """
    values = products.values
    if products.mask is not None:
        values += tf.cast(tf.where(products.mask, 0.0, -float("inf")), values.dtype)
    return _maximum(values)


@tf.custom_gradient
def _maximum(values: tf.Tensor) -> tf.Tensor:
    """The maximum over the last axis. Of equal values, the first receives the gradient."""
    winner = tf.argmax(values, axis=-1, output_type=tf.int32)

    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        chosen = tf.one_hot(winner, tf.shape(values)[-1], dtype=upstream.dtype)
        return chosen * upstream[..., tf.newaxis]

    return tf.reduce_max(values, axis=-1), gradient


def fragments(products: Products, options: ScoreOptions) -> tf.Tensor:
    """Computes Σ_i max(0, v_i · s_t), the earlier score of Deep Fragments."""
    values = products.values
    if products.mask is not None:
        values = tf.where(products.mask, values, 0)
    return tf.reduce_sum(tf.nn.relu(values), axis=2)


def attention(products: Products, options: ScoreOptions) -> tf.Tensor:
    """Computes the text-to-image attention of SCAN (Lee et al., ECCV 2018).

    c_it = cos(v_i, s_t)
    n_it = max(0, c_it) / sqrt(Σ_u max(0, c_iu)²)        over the words u of the sentence
    α_it = softmax_i(λ n_it)                             λ: the sharpness
    cos(s_t, Σ_i α_it v_i)                               v_i of length 1
    """
    return _cosine_with_attended(products, _attention_weights(products, options.sharpness))


def negative_aware(products: Products, options: ScoreOptions) -> tf.Tensor:
    """Computes the score of NAAF (Zhang et al., CVPR 2022): words without a region count against.

        n_t = min(0, max_i c_it - τ)                         below 0 if no cosine reaches τ
        f_t = cos(s_t, Σ_i w_it v_i)                         w_it = softmax_i(λ c_it) over c_it > τ
        r_t = Σ_i α_it c_it                                  α_it as in `attention`
        n_t + f_t + r_t                                      f_t = 0 if no cosine exceeds τ

    The threshold τ is a constant; the authors estimate it from the cosines of true and false pairs
    during the training.
    """
    values, (sharpness, threshold) = products.values, options
    negative = tf.minimum(best_region(products, options) - threshold, 0)
    found = values > threshold
    if products.mask is not None:
        found = tf.logical_and(found, products.mask)
    logits = tf.where(found, sharpness * values, tf.constant(values.dtype.min, values.dtype))
    weights = tf.where(found, tf.nn.softmax(logits), 0)  # all 0 if no region is found
    relevance = tf.reduce_sum(_attention_weights(products, sharpness) * values, axis=2)
    return negative + _cosine_with_attended(products, weights) + relevance


def _attention_weights(products: Products, sharpness: float) -> tf.Tensor:
    """α_it of `attention`, [words, B, R]."""
    positive = tf.nn.relu(products.values)
    squares = tf.math.unsorted_segment_sum(
        tf.square(positive), products.sentence, products.sentence_count
    )  # [N, B, R]
    share = positive * tf.gather(tf.math.rsqrt(squares + _EPSILON), products.sentence)
    logits = sharpness * share
    if products.mask is not None:
        logits = tf.where(products.mask, logits, tf.constant(float("-inf"), logits.dtype))
    return tf.nn.softmax(logits)


def _cosine_with_attended(products: Products, weights: tf.Tensor) -> tf.Tensor:
    """Computes cos(s_t, Σ_i w_it v_i) [words, B] for weights [words, B, R] of unit vectors.

    The attended vectors are never computed: their products with the word are Σ_i w_it c_it, and
    their lengths follow from the products of an image's regions with each other.
    """
    with_word = tf.reduce_sum(weights * products.values, axis=2)
    by_image = tf.transpose(weights, [1, 0, 2])  # [B, words, R]
    regions = products.regions
    squared_length = tf.reduce_sum(
        tf.matmul(by_image, tf.matmul(regions, regions, transpose_b=True)) * by_image, axis=2
    )
    return with_word * tf.math.rsqrt(tf.transpose(squared_length) + _EPSILON)


SCORES = {
    "attention": Score(attention, unit=True, pooling="mean"),
    "best_region": Score(best_region),
    "cosine": Score(best_region, unit=True, pooling="mean"),
    "fragments": Score(fragments),
    "hard_alignment": Score(best_region, unit=True, pooling="log_sum_exp"),
    "negative_aware": Score(negative_aware, unit=True, pooling="mean"),
}
"""Scores by their names in the configuration."""


def get_score(name: str) -> Score:
    """Returns the score with a name.

    Raises:
        ValueError: If there is no such score.

    Example:
        >>> get_score("best_region").pooling
        'sum'
    """
    if name not in SCORES:
        raise ValueError(f"score must be one of {', '.join(SCORES)}, not {name!r}")
    return SCORES[name]
