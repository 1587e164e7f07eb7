"""Phrases that name several things, such as "two dogs": how they are recognised by their words.

A region of a detector holds one thing, so no region may fit such a phrase, and its box is that
around two regions (`visem_tf.alignment.overlaps`). The words are English.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from visem_tf.text import NUMERALS

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
