"""Phrases that name several things are recognised by their words."""

import pytest
import tensorflow as tf

from visem_tf.alignment.plurals import name_several, word_numbers

TEXT = (
    "a the two group of man men dog dogs pony ponies leaf leaves run running runs grass jeans jean "
    "bus buses ride riding rides woman women several one another snowman snowmen"
)
WORDS = TEXT.split()


@pytest.mark.parametrize(
    ("phrase", "several"),
    [
        ("two dogs", True),
        ("two dog", True),  # the noun may be unknown
        ("the dogs", True),
        ("dogs", True),
        ("men", True),
        ("snowmen", True),
        ("ponies", True),
        ("leaves", True),
        ("buses", True),
        ("a group of men", True),
        ("several women", True),
        ("a dog", False),
        ("the dog", False),
        ("a dogs", False),
        ("another dogs", False),
        ("dogs grass", False),  # the last word counts
        ("grass", False),
        ("the dog runs", False),
        ("the man rides", False),
        ("the jeans", False),
        ("two jeans", True),
        ("one", False),
    ],
)
def test_words_say_how_many_things_a_phrase_names(phrase, several):
    ids = [WORDS.index(word) for word in phrase.split()]
    # The words around the phrase do not count.
    two, dogs = WORDS.index("two"), WORDS.index("dogs")
    token_ids = tf.constant([[two, *ids, dogs]])
    inside = tf.constant([[False, *[True] * len(ids), False]])
    assert name_several(token_ids, inside, word_numbers(WORDS)).numpy().tolist() == [several]


def test_a_plural_needs_its_singular_among_the_words():
    assert word_numbers(["dogs"]).plural.tolist() == [False]
    assert word_numbers(["dogs", "dog"]).plural.tolist() == [True, False]
    assert word_numbers(["women", "gas", "as"]).plural.tolist() == [True, False, False]


def test_phrases_without_words_name_nothing():
    none = tf.zeros([2, 3], tf.bool)
    found = name_several(tf.constant([[2, 8, 8], [6, 6, 6]]), none, word_numbers(WORDS))
    assert not found.numpy().any()
