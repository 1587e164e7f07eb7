"""Phrases that name several things, and the box around two regions, against plain NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from visem_tf.alignment.plurals import (
    PAIRS,
    boxes_around_two,
    name_several,
    word_numbers,
)
from visem_tf.metrics.regions import box_iou

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


def best_pair(logits, boxes):
    """The definition, for the regions of one image: the box, its region and how sure it is."""
    pairs, values = [], []
    for i in range(len(logits)):
        for j in range(i, len(logits)):
            if i == j or box_iou(boxes[i], boxes[j]) <= 0.05:
                pairs.append((i, j))
                values.append((logits[i] + logits[j]) / 2)
    order = np.argsort(-np.array(values), kind="stable")[:PAIRS]
    pairs, values = [pairs[k] for k in order], np.array(values)[order]
    shares = np.exp(values - values.max())
    shares /= shares.sum()
    around = np.array(
        [
            [*np.minimum(boxes[i], boxes[j])[:2], *np.maximum(boxes[i], boxes[j])[2:]]
            for i, j in pairs
        ]
    )
    expected = box_iou(around[:, np.newaxis], around) @ shares
    best = int(expected.argmax())
    i, j = pairs[best]
    return around[best], i if logits[i] >= logits[j] else j


@pytest.mark.parametrize("regions", [1, 2, 5, 20])
@pytest.mark.parametrize("compiled", [False, True])
def test_the_box_is_that_of_the_pair_with_the_largest_expected_overlap(regions, compiled):
    random = np.random.default_rng(regions)
    low = random.uniform(0, 0.7, [8, regions, 2])
    boxes = np.concatenate([low, low + random.uniform(0.05, 0.3, low.shape)], axis=2)
    logits = random.normal(0, 2, [8, regions])
    mask = np.arange(regions) < random.integers(1, regions + 1, [8, 1])
    function = tf.function(boxes_around_two) if compiled else boxes_around_two
    found, members = function(
        tf.constant(logits, tf.float32), tf.constant(boxes, tf.float32), tf.constant(mask)
    )
    of_two = 0
    for n in range(8):
        box, region = best_pair(logits[n][mask[n]], boxes[n][mask[n]])
        np.testing.assert_allclose(found[n], box, rtol=1e-5)
        assert int(members[n]) == region
        of_two += not np.allclose(box, boxes[n, region], rtol=1e-5)
    assert of_two or regions < 5


def test_images_without_regions_raise_no_error():
    box, region = boxes_around_two(tf.zeros([1, 3]), tf.zeros([1, 3, 4]), tf.zeros([1, 3], tf.bool))
    assert np.isfinite(box).all()
    assert 0 <= int(region[0]) < 3
