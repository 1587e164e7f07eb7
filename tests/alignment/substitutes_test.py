"""Nouns and their substitutes in a toy language, and sentences with one noun replaced."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from visem_tf.alignment.substitutes import (
    Sentences,
    find_nouns,
    find_substitutes,
    swap_nouns,
    words_of_images,
)
from visem_tf.text import SPECIAL_WORDS, Vocabulary

ANIMALS, PLACES = ("cat", "dog", "horse"), ("field", "street", "beach")
COLOURS, VERBS = ("red", "black"), ("runs", "sits")


def toy_sentences():
    """Every animal in every place, an image each; the second sentence of an image says "puppy"."""
    texts, images = [], []
    for animal, place in itertools.product(ANIMALS, PLACES):
        for colour, verb in itertools.product(COLOURS, VERBS):
            images += [len(images) // 2] * 2
            other = "puppy" if animal == "dog" else animal
            texts += [
                f"a {colour} {animal} {verb} in the {place}",
                f"the {other} {verb} in a {colour} {place}",
            ]
    return texts, np.array(images)


@pytest.fixture(scope="module")
def toy():
    texts, images = toy_sentences()
    vocabulary = Vocabulary.build(texts, min_count=1)
    token_ids = vocabulary.encode(texts)
    return vocabulary, token_ids, images, Sentences.of(token_ids, images, len(vocabulary))


def test_nouns_follow_determiners_and_adjectives_and_precede_none(toy):
    vocabulary, _, _, sentences = toy
    found = {vocabulary.words[n] for n in np.flatnonzero(find_nouns(sentences))}
    assert found == {*ANIMALS, "puppy", *PLACES}


def test_substitutes_have_similar_neighbours_and_describe_other_images(toy):
    vocabulary, _, _, sentences = toy
    substitutes = find_substitutes(sentences, candidates=3)
    assert substitutes.shape == (len(vocabulary), 3)

    def of(word):
        found = substitutes[vocabulary.words.index(word)]
        return [vocabulary.words[n] for n in found if n]

    assert set(of("cat")[:2]) <= {"dog", "horse", "puppy"}
    assert set(of("field")[:2]) == {"street", "beach"}
    assert "puppy" not in of("dog")  # they describe the same images
    assert "dog" not in of("puppy")
    for word in (*SPECIAL_WORDS, "a", "the", "in", *COLOURS, *VERBS):
        assert of(word) == []


def test_similarity_is_the_cosine_of_positive_mutual_information(toy):
    """The order of the substitutes, against loops over all words."""
    vocabulary, token_ids, images, sentences = toy
    size, nouns = len(vocabulary), np.flatnonzero(find_nouns(sentences))
    rows = token_ids.to_list()
    vectors = {}
    for n in nouns:
        parts = []
        for offset in (-1, 1, -2, 2):
            counts, contexts = np.zeros(size), np.zeros(size)
            for row in rows:
                for place, word in enumerate(row):
                    if 0 <= place + offset < len(row):
                        contexts[row[place + offset]] += 1
                        counts[row[place + offset]] += word == n
            share = contexts**0.75 / (contexts**0.75).sum()
            information = np.zeros(size)
            seen = counts > 0
            information[seen] = np.log(counts[seen] / (counts.sum() * share[seen])).clip(0)
            parts.append(information)
        vectors[n] = np.concatenate(parts)
    described = {n: {k for k, row in zip(images, rows, strict=True) if n in row} for n in nouns}
    substitutes = find_substitutes(sentences, candidates=len(nouns))
    for n in nouns:
        expected = {}
        for m in nouns:
            together = len(described[n] & described[m]) * (images.max() + 1)
            if n != m and together <= len(described[n]) * len(described[m]):
                lengths = np.linalg.norm(vectors[n]) * np.linalg.norm(vectors[m])
                expected[m] = vectors[n] @ vectors[m] / lengths
        found = [m for m in substitutes[n] if m]
        assert set(found) == {m for m, cosine in expected.items() if cosine > 0}
        cosines = [expected[m] for m in found]
        np.testing.assert_allclose(cosines, sorted(cosines, reverse=True), atol=1e-6)


@pytest.mark.parametrize("texts", [[], [""], ["stop"], ["run run run", "go"]])
def test_sentences_without_nouns_have_no_substitutes(texts):
    vocabulary = Vocabulary.build([*texts, "word"], min_count=1)
    token_ids = vocabulary.encode(tf.constant(texts, tf.string))
    sentences = Sentences.of(token_ids, np.arange(len(texts)), len(vocabulary))
    assert not find_nouns(sentences)[: len(SPECIAL_WORDS)].any()
    assert find_substitutes(sentences).shape == (len(vocabulary), 10)


def test_words_of_an_image_are_those_of_all_its_sentences():
    token_ids = tf.ragged.constant([[5, 6, 5], [7], [], [6, 8]], tf.int32)
    sentences = Sentences.of(token_ids, np.array([0, 0, 1, 2]), 9)
    assert words_of_images(sentences, 4).to_list() == [[5, 6, 7], [], [6, 8], []]


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**32 - 1))
def test_one_noun_is_replaced_by_a_substitute_that_the_image_lacks(seed):
    random = np.random.default_rng(seed)
    token_ids = random.integers(4, 12, (5, 6), np.int32)
    token_ids[np.arange(6) >= random.integers(0, 7, (5, 1))] = 0
    substitutes = random.integers(4, 20, (20, 3), np.int32)
    substitutes[np.arange(3) >= random.integers(0, 4, (20, 1))] = 0
    substitutes[0] = 0
    substitutes[substitutes == np.arange(20)[:, np.newaxis]] = 0
    image_words = random.integers(4, 20, (5, 7), np.int32)
    image_words[:, 5:] = 0
    draws = random.uniform(size=(5, 4, 2)).astype(np.float32)
    swapped = swap_nouns(token_ids, image_words, substitutes, draws).numpy()
    for row, words in enumerate(token_ids):
        usable = [set(substitutes[word]) - {0} - set(image_words[row]) for word in words]
        places = [place for place, allowed in enumerate(usable) if allowed]
        changed = []
        for sentence in swapped[row]:
            if not places:
                assert not sentence.any()
                continue
            [place] = np.flatnonzero(sentence != words)
            assert sentence[place] in usable[place]
            changed.append(place)
        assert len(set(changed)) >= min(2, len(places))


def test_all_nouns_and_all_substitutes_are_drawn_alike():
    substitutes = np.zeros([8, 2], np.int32)
    substitutes[4], substitutes[5] = [6, 7], [6, 0]
    count = 4000
    draws = tf.random.stateless_uniform([count, 1, 2], (0, 1))
    token_ids = tf.tile([[4, 3, 5]], [count, 1])
    swapped = swap_nouns(token_ids, tf.zeros([count, 1], tf.int32), substitutes, draws)
    rows, times = np.unique(swapped[:, 0], axis=0, return_counts=True)
    assert rows.tolist() == [[4, 3, 6], [6, 3, 5], [7, 3, 5]]
    np.testing.assert_allclose(times / count, [0.5, 0.25, 0.25], atol=0.03)


@pytest.mark.parametrize("shape", [(0, 0), (2, 0)])
def test_batches_without_words_have_no_false_sentences(shape):
    draws, substitutes = tf.zeros([shape[0], 3, 2]), tf.ones([5, 2], tf.int32)
    substitutes = tf.concat([tf.zeros([1, 2], tf.int32), substitutes], axis=0)
    empty = tf.zeros(shape, tf.int32)
    assert swap_nouns(empty, empty, substitutes, draws).shape == (shape[0], 3, 0)
