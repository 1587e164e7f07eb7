"""Scores of an image with a sentence, a module each; its name is the name in the configuration.

A score is a sum, or a mean, over the words of a sentence. A module says in a `SCORE` what one word
adds, given its products with all regions of all images. A new score is one new module.
"""

import importlib
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from visem_tf.config.registry import SCORES


class Products(NamedTuple):
    """All words of N sentences beside all regions of B images.

    Attributes:
      values: v_i . s_t, float [words, B, R]; cosines for a score that asks for unit vectors.
      mask: bool [B, R], True = real; None: all are.
      regions: v_i, float [B, R, D], of length 1 for such a score.
      sentence: int32 [words], the sentence of every word.
      sentence_count: N.
    """

    values: tf.Tensor
    mask: tf.Tensor | None
    regions: tf.Tensor
    sentence: tf.Tensor
    sentence_count: tf.Tensor


class Score(NamedTuple):
    """A form of the image-sentence score.

    Attributes:
      of_words: what every word adds to the score of every image, [words, B]; a padded region must
        make no difference. Its second argument is the sharpness of `attention`.
      unit: whether all vectors are brought to length 1 first.
      mean: whether words are averaged rather than added up.
    """

    of_words: Callable[[Products, float], tf.Tensor]
    unit: bool
    mean: bool


@tf.autograph.experimental.do_not_convert  # it would try to convert the import
def get_score(name: str) -> Score:
    """The score of a name.

    Raises:
      ValueError: there is no such score.

    Example:
        >>> get_score("best_region").mean
        False
    """
    if name not in SCORES:
        raise ValueError(f"score must be one of {', '.join(SCORES)}, not {name!r}")
    score = importlib.import_module(f"{__name__}.{name}").SCORE
    assert isinstance(score, Score)
    return score


def without_padding(products: Products) -> tf.Tensor:
    """The products, minus infinity at padded regions, so that these never win a maximum."""
    values, mask = products.values, products.mask
    if mask is None:
        return values
    excluded = tf.constant(float("-inf"), values.dtype)
    return values + tf.where(mask, tf.zeros_like(excluded), excluded)


@tf.custom_gradient
def best(values: tf.Tensor) -> tf.Tensor:
    """The maximum over the last axis, whose gradient goes to the first of equal values."""
    winner = tf.argmax(values, axis=-1, output_type=tf.int32)

    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        chosen = tf.one_hot(winner, tf.shape(values)[-1], dtype=upstream.dtype)
        return chosen * upstream[..., tf.newaxis]

    return tf.reduce_max(values, axis=-1), gradient
