"""Scores against loops written from the papers; padding and order of regions."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from visem_tf.alignment.scores import alignment_scores, word_region_similarities
from visem_tf.config.registry import SCORES
from visem_tf.scores import get_score

seeds = st.integers(0, 2**32 - 1)


def make_batch(seed, images=3, sentences=4, regions=5, words=6, dim=7):
    random = np.random.default_rng(seed)
    region_mask = np.arange(regions) < random.integers(1, regions + 1, (images, 1))
    word_mask = np.arange(words) < random.integers(0, words + 1, (sentences, 1))
    v = random.normal(size=(images, regions, dim))
    s = random.normal(size=(sentences, words, dim))
    return v, s, region_mask, word_mask


def cosine(a, b):
    return a @ b / np.sqrt((a @ a) * (b @ b))


def of_pair(name, regions, words, sharpness):
    """The score of the regions of one image with the words of one sentence."""
    if not len(words):
        return 0.0
    if name == "best_region":
        return sum(max(region @ word for region in regions) for word in words)
    if name == "fragments":
        return sum(max(0, region @ word) for region in regions for word in words)
    if name == "cosine":
        return np.mean([max(cosine(region, word) for region in regions) for word in words])
    assert name == "attention"
    positive = np.array([[max(0, cosine(region, word)) for word in words] for region in regions])
    share = positive / np.sqrt((positive**2).sum(axis=1, keepdims=True) + 1e-8)
    weights = np.exp(sharpness * share) / np.exp(sharpness * share).sum(axis=0)
    unit = np.array([region / np.linalg.norm(region) for region in regions])
    return np.mean([cosine(word, weights[:, t] @ unit) for t, word in enumerate(words)])


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("chunk_size", [None, 2])
@pytest.mark.parametrize("sharpness", [1.0, 9.0])
def test_scores_equal_loops(name, chunk_size, sharpness):
    v, s, region_mask, word_mask = make_batch(0)

    @tf.function
    def score(*batch):
        return alignment_scores(*batch, score=name, sharpness=sharpness, chunk_size=chunk_size)

    scores = score(*map(tf.constant, (v, s, region_mask, word_mask)))
    for k, n in np.ndindex(3, 4):
        expected = of_pair(name, v[k][region_mask[k]], s[n][word_mask[n]], sharpness)
        np.testing.assert_allclose(scores[k, n], expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", SCORES)
@settings(deadline=None, max_examples=20)
@given(seed=seeds)
def test_padding_and_the_order_of_regions_change_nothing(name, seed):
    v, s, region_mask, word_mask = make_batch(seed)
    before = alignment_scores(v, s, region_mask, word_mask, score=name)
    v[~region_mask], s[~word_mask] = 1e3, -1e3
    v = np.pad(v, [(0, 0), (0, 2), (0, 0)], constant_values=9)
    s = np.pad(s, [(0, 0), (0, 3), (0, 0)], constant_values=9)
    region_mask, word_mask = (
        np.pad(mask, [(0, 0), (0, more)]) for mask, more in ((region_mask, 2), (word_mask, 3))
    )
    order = np.random.default_rng(seed).permutation(v.shape[1])
    after = alignment_scores(v[:, order], s, region_mask[:, order], word_mask, score=name)
    np.testing.assert_allclose(before, after, atol=1e-8)


@pytest.mark.parametrize("name", SCORES)
def test_gradients_equal_finite_differences(name):
    v, s, region_mask, word_mask = make_batch(3, dim=2)
    weights = np.random.default_rng(4).normal(size=(3, 4))

    def total(v, s):
        return tf.reduce_sum(weights * alignment_scores(v, s, region_mask, word_mask, score=name))

    theoretical, numerical = tf.test.compute_gradient(
        total, [tf.constant(v), tf.constant(s)], delta=1e-6
    )
    for exact, approximate in zip(theoretical, numerical, strict=True):
        np.testing.assert_allclose(exact, approximate, atol=1e-5)


@pytest.mark.parametrize("name", ["cosine", "attention"])
def test_scores_of_unit_vectors_do_not_know_lengths_and_have_bounds(name):
    v, s, region_mask, word_mask = make_batch(1)
    scores = alignment_scores(v, s, region_mask, word_mask, score=name)
    longer = alignment_scores(5 * v, 0.1 * s, region_mask, word_mask, score=name)
    np.testing.assert_allclose(scores, longer, atol=1e-6)
    assert np.abs(scores).max() <= 1
    found = word_region_similarities(v, s[:3], region_mask, score=name).numpy()
    for k, t, i in np.ndindex(3, 6, 5):
        expected = cosine(v[k, i], s[k, t]) if region_mask[k, i] else -np.inf
        np.testing.assert_allclose(found[k, t, i], expected, atol=1e-6)


@pytest.mark.parametrize("name", SCORES)
def test_a_vector_of_zeros_has_a_gradient(name):
    v, s = tf.Variable(tf.zeros([1, 2, 3])), tf.Variable(tf.ones([1, 2, 3]))
    with tf.GradientTape() as tape:
        scores = alignment_scores(v, s, score=name)
    for gradient in tape.gradient(scores, [v, s]):
        assert np.isfinite(gradient).all()


def test_an_unknown_score_is_named():
    with pytest.raises(ValueError, match="score must be one of attention, best_region, cosine"):
        get_score("cosin")
