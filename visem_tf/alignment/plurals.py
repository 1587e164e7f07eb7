"""Phrases that name several things, such as "two dogs", and the box around two regions.

A region of a detector holds one thing, so no region may fit a phrase in the plural. Such phrases
are recognised by their words, in English only. Their box is that around two regions i <= j that
hardly overlap: of these pairs, the one that is expected to overlap most,

    argmax_ij Σ_kl p_kl IoU(ij, kl)     p = softmax_ij((e_i + e_j) / 2)

with the logits e_i of the regions in `visem_tf.alignment.phrases`. A pair may be one region twice,
so that a group with a region of its own gets that one.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from visem_tf.text import NUMERALS

PAIRS = 32
"""The pairs of regions that are compared: those with the largest p."""

_MAX_IOU = 0.05
"""Two regions that overlap more than this may be one thing."""

_SINGULAR = "a an another one each every this that"
_COLLECTIVE = "both various group groups couple pair bunch team family"
_IRREGULAR = "men women children people feet teeth geese mice"
_ONE_THING = (
    "binoculars clothes clothing glasses goggles headphones jeans mountains overalls pajamas pants "
    "shorts stairs steps sunglasses tights trousers waves woods"
)
"""Plurals of which people mostly mark one thing."""

_ENDINGS = (("s", ""), ("es", ""), ("ies", "y"), ("ves", "f"), ("ves", "fe"), ("men", "man"))


class WordNumbers(NamedTuple):
    """What the words of a vocabulary say about the number of things, boolean arrays [V].

    Attributes:
        counting: Words after which there are several things ("two", "group").
        singular: Words after which there is one thing ("a").
        plural: Nouns in the plural.
    """

    counting: np.ndarray
    singular: np.ndarray
    plural: np.ndarray


def word_numbers(words: Sequence[str]) -> WordNumbers:
    """Sorts the words of a vocabulary.

    Args:
        words: V words.

    Example:
        >>> numbers = word_numbers(["dog", "dogs", "grass", "run", "runs", "running", "two"])
        >>> numbers.plural.tolist(), numbers.counting.tolist()[-1]
        ([False, True, False, False, False, False, False], True)
    """
    counting, singular, known = NUMERALS.union(_COLLECTIVE.split()), _SINGULAR.split(), set(words)
    return WordNumbers(
        np.array([word in counting for word in words]),
        np.array([word in singular for word in words]),
        np.array([_is_plural(word, known) for word in words]),
    )


def name_several(token_ids: tf.Tensor, phrase: tf.Tensor, numbers: WordNumbers) -> tf.Tensor:
    """Finds the phrases that name several things.

    Args:
        token_ids: Words of N sentences, int32 [N, T].
        phrase: Boolean tensor [N, T], True for the words of the phrase.
        numbers: What the words of the vocabulary say.

    Returns:
        Boolean tensor [N]: whether the phrase has a counting word, or ends in a plural and has no
        word for one thing.

    Example:
        >>> numbers = word_numbers(["a", "two", "dog", "dogs"])
        >>> phrases = tf.constant([[1, 2], [0, 3], [2, 3]])  # "two dog", "a dogs", "dog dogs"
        >>> name_several(phrases, tf.ones([3, 2], tf.bool), numbers).numpy().tolist()
        [True, False, True]
    """
    counting, singular, plural = (tf.gather(part, token_ids) & phrase for part in numbers)
    last = phrase & ~tf.pad(phrase[:, 1:], [[0, 0], [0, 1]])
    ends_in_plural = tf.reduce_any(plural & last, axis=1)
    return tf.reduce_any(counting, axis=1) | (ends_in_plural & ~tf.reduce_any(singular, axis=1))


def boxes_around_two(
    logits: tf.Tensor, boxes: tf.Tensor, region_mask: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Finds the boxes of N phrases that name several things, each in its own image.

    Args:
        logits: e of the regions, float tensor [N, R].
        boxes: Float tensor [N, R, 4], `rel_yxyx`.
        region_mask: Boolean tensor [N, R], True for real regions.

    Returns:
        The box around both regions of the pair, float tensor [N, 4]; and the one of them with the
        larger logit, int32 tensor [N]. They have no meaning for an image without regions.

    Example:
        >>> boxes = tf.constant([[[0.0, 0, 1, 1], [0.2, 0.1, 0.4, 0.3], [0.2, 0.7, 0.4, 0.9]]])
        >>> box, region = boxes_around_two(
        ...     tf.constant([[0.0, 8.9, 9.0]]), boxes, tf.ones([1, 3], tf.bool))
        >>> box.numpy(), region.numpy()
        (array([[0.2, 0.1, 0.4, 0.9]], dtype=float32), array([2], dtype=int32))
    """
    import keras_cv

    count = tf.shape(logits)[1]
    first, second = tf.range(count)[:, tf.newaxis], tf.range(count)
    apart = keras_cv.bounding_box.compute_iou(boxes, boxes, "yxyx") <= _MAX_IOU
    allowed = (apart & (first < second)) | tf.equal(first, second)
    allowed &= region_mask[:, :, tf.newaxis] & region_mask[:, tf.newaxis]
    values = (logits[:, :, tf.newaxis] + logits[:, tf.newaxis]) / 2
    values = tf.where(allowed, values, -float("inf"))
    flat = tf.reshape(values, [-1, count * count])
    best, place = tf.math.top_k(flat, tf.minimum(PAIRS, count * count))
    members = tf.stack([place // count, place % count], axis=2)  # [N, P, 2]
    corners = tf.gather(boxes, members, batch_dims=1)  # [N, P, 2, 4]
    low = tf.reduce_min(corners[..., :2], axis=2)
    around = tf.concat([low, tf.reduce_max(corners[..., 2:], axis=2)], axis=2)
    overlaps = keras_cv.bounding_box.compute_iou(around, around, "yxyx")
    real = best > -float("inf")
    expected = tf.linalg.matvec(overlaps, tf.where(real, tf.nn.softmax(best), 0.0))
    chosen = tf.argmax(tf.where(real, expected, -1.0), axis=1, output_type=tf.int32)
    members = tf.gather(members, chosen, batch_dims=1)  # [N, 2]
    better = tf.argmax(tf.gather(logits, members, batch_dims=1), axis=1, output_type=tf.int32)
    return tf.gather(around, chosen, batch_dims=1), tf.gather(members, better, batch_dims=1)


def _is_plural(word: str, known: set[str]) -> bool:
    """Whether a word is a noun in the plural: its singular is known, and is not a verb."""
    if word in _IRREGULAR.split():
        return True
    if word in _ONE_THING.split():
        return False
    singular = [
        word.removesuffix(ending) + other for ending, other in _ENDINGS if word.endswith(ending)
    ]
    singular = [each for each in singular if len(each) > 2 and each in known]
    return bool(singular) and not any(_is_verb(each, known) for each in singular)


def _is_verb(word: str, known: set[str]) -> bool:
    """Whether the present participle of a word is known, as of run, ride and jump."""
    forms = {f"{word}ing", f"{word}{word[-1]}ing", f"{word.removesuffix('e')}ing"}
    return not known.isdisjoint(forms)
