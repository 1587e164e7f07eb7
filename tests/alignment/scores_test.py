"""Scores against loops written from the papers; padding and order of regions."""

import numpy as np
import pytest
import tensorflow as tf
from gradients import assert_gradients_are_slopes
from hypothesis import given, settings
from hypothesis import strategies as st

from visem_tf.alignment.scores import (
    alignment_scores,
    own_sentence_scores,
    word_region_similarities,
)
from visem_tf.alignment.word_scores import SCORES, get_score
from visem_tf.config import registry

UNIT_SCORES = [name for name in SCORES if get_score(name).unit]
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


def of_pair(name, regions, words, sharpness, threshold=0.0):
    """The score of the regions of one image with the words of one sentence."""
    if not len(words):
        return 0.0
    if name == "best_region":
        return sum(max(region @ word for region in regions) for word in words)
    if name == "fragments":
        return sum(max(0, region @ word) for region in regions for word in words)
    if name == "cosine":
        return np.mean([max(cosine(region, word) for region in regions) for word in words])
    cosines = np.array([[cosine(region, word) for word in words] for region in regions])
    if name == "hard_alignment":
        return np.log(np.sum(np.exp(sharpness * cosines.max(axis=0)))) / sharpness
    positive = cosines.clip(0)
    share = positive / np.sqrt((positive**2).sum(axis=1, keepdims=True) + 1e-8)
    weights = np.exp(sharpness * share) / np.exp(sharpness * share).sum(axis=0)
    unit = np.array([region / np.linalg.norm(region) for region in regions])
    if name == "attention":
        return np.mean([cosine(word, weights[:, t] @ unit) for t, word in enumerate(words)])
    assert name == "negative_aware"
    effects = []
    for t, word in enumerate(words):
        effect = min(0, max(cosines[:, t]) - threshold) + weights[:, t] @ cosines[:, t]
        found = cosines[:, t] > threshold
        if found.any():
            relevance = np.exp(sharpness * cosines[found, t])
            effect += cosine(word, relevance @ unit[found])
        effects.append(effect)
    return np.mean(effects)


def test_the_registry_lists_the_scores():
    assert tuple(SCORES) == registry.SCORES


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize(
    ("chunk_size", "in_graph"), [(None, False), (1, False), (2, True), (100, False)]
)
def test_scores_equal_loops(name, chunk_size, in_graph):
    v, s, region_mask, word_mask = make_batch(0)

    def score(*batch):
        return alignment_scores(*batch, score=name, sharpness=4.0, chunk_size=chunk_size)

    if in_graph:
        specs = [tf.TensorSpec([None, None, 7], tf.float64)] * 2
        score = tf.function(score, [*specs, *[tf.TensorSpec([None, None], tf.bool)] * 2])
    scores = score(*map(tf.constant, (v, s, region_mask, word_mask)))
    for k, n in np.ndindex(3, 4):
        expected = of_pair(name, v[k][region_mask[k]], s[n][word_mask[n]], 4.0)
        np.testing.assert_allclose(scores[k, n], expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("threshold", [0.1, 0.5])
def test_words_below_the_threshold_count_against_the_image(threshold):
    v, s, region_mask, word_mask = make_batch(6)
    scores = alignment_scores(
        v, s, region_mask, word_mask, score="negative_aware", sharpness=20.0, threshold=threshold
    )
    for k, n in np.ndindex(3, 4):
        regions, words = v[k][region_mask[k]], s[n][word_mask[n]]
        expected = of_pair("negative_aware", regions, words, 20.0, threshold)
        np.testing.assert_allclose(scores[k, n], expected, rtol=1e-5, atol=1e-6)
    opposite = alignment_scores(
        [[[1.0, 0.0]]], [[[-1.0, 0.0]]], score="negative_aware", threshold=threshold
    )
    np.testing.assert_allclose(opposite, [[-1 - threshold - 1]], atol=1e-6)


@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("masked", [False, True])
def test_scores_of_own_sentences_are_those_of_the_pairs(name, masked):
    v, _, region_mask, _ = make_batch(7)
    s = np.stack([make_batch(seed, sentences=2)[1] for seed in range(3)])  # [3, 2, 6, 7]
    word_mask = np.stack([make_batch(seed, sentences=2)[3] for seed in range(3)])
    word_mask[1, 1] = False
    masks = (region_mask, word_mask) if masked else (None, None)
    s[~word_mask] = 1e3
    found = own_sentence_scores(v, s, *masks, score=name, sharpness=4.0, threshold=0.1)
    for k in range(3):
        own = [None if mask is None else mask[k] for mask in masks]
        image_mask = None if own[0] is None else own[0][np.newaxis]
        expected = alignment_scores(
            v[k : k + 1], s[k], image_mask, own[1], score=name, sharpness=4.0, threshold=0.1
        )
        np.testing.assert_allclose(found[k], expected[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", SCORES)
def test_gradients_of_own_sentences_equal_finite_differences(name):
    v, _, region_mask, _ = make_batch(8, images=2, regions=3, dim=2)
    s = np.random.default_rng(0).normal(size=(2, 2, 3, 2))
    word_mask = np.array([[[1, 1, 0], [1, 0, 0]], [[0, 0, 0], [1, 1, 1]]], bool)
    weights = np.array([[1.0, -0.5], [2.0, 0.7]])

    def total(v, s):
        return tf.reduce_sum(
            weights * own_sentence_scores(v, s, region_mask, word_mask, score=name)
        )

    assert_gradients_are_slopes(total, [v, s])


@pytest.mark.parametrize("name", SCORES)
def test_no_mask_means_all_real(name):
    v, s, region_mask, word_mask = make_batch(2)
    np.testing.assert_allclose(
        alignment_scores(v, s, score=name),
        alignment_scores(v, s, region_mask | True, word_mask | True, score=name),
    )


@pytest.mark.parametrize("name", ["best_region", "fragments"])
def test_scores_are_sums_over_words_unless_normalised(name):
    v, s, region_mask, word_mask = make_batch(5)
    found = alignment_scores(v, s, region_mask, word_mask, score=name, normalise_by_length=True)
    summed = alignment_scores(v, s, region_mask, word_mask, score=name)
    np.testing.assert_allclose(found, summed / np.maximum(1, word_mask.sum(axis=1)))


@pytest.mark.parametrize("name", SCORES)
@settings(deadline=None, max_examples=10)
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


@pytest.mark.parametrize(
    ("name", "chunk_size"), [*((name, 2) for name in SCORES), ("best_region", None)]
)
def test_gradients_equal_finite_differences(name, chunk_size):
    v, s, region_mask, word_mask = make_batch(3, 3, 3, regions=3, words=3, dim=2)
    weights = np.random.default_rng(4).normal(size=(3, 3))

    def total(v, s):
        options = {"score": name, "chunk_size": chunk_size}
        return tf.reduce_sum(weights * alignment_scores(v, s, region_mask, word_mask, **options))

    assert_gradients_are_slopes(total, [v, s])


@pytest.mark.parametrize("name", UNIT_SCORES)
def test_scores_of_unit_vectors_do_not_know_lengths_and_have_bounds(name):
    v, s, region_mask, word_mask = make_batch(1)
    scores = alignment_scores(v, s, region_mask, word_mask, score=name)
    longer = alignment_scores(5 * v, 0.1 * s, region_mask, word_mask, score=name)
    np.testing.assert_allclose(scores, longer, atol=1e-6)
    most = {"negative_aware": 2, "hard_alignment": 1 + np.log(6) / 9}.get(name, 1)
    assert np.abs(scores).max() <= most
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


def test_permuted_regions_permute_similarities():
    v, s, region_mask, _ = make_batch(4, sentences=3)
    order = np.random.default_rng(0).permutation(5)
    np.testing.assert_allclose(
        word_region_similarities(v, s, region_mask).numpy()[..., order],
        word_region_similarities(v[:, order], s, region_mask[:, order]),
    )


def test_an_unknown_score_is_named():
    with pytest.raises(ValueError, match="score must be one of attention, best_region, cosine"):
        get_score("cosin")


def test_a_padded_region_of_zeros_does_not_win_over_negative_products():
    v = np.array([[[-2.0], [-3.0], [0.0]]], np.float32)
    s = np.array([[[1.0], [0.0]]], np.float32)
    masks = np.array([[True, True, False]]), np.array([[True, False]])
    assert alignment_scores(v, s, *masks).numpy() == [[-2.0]]
    similarities = word_region_similarities(v, s, masks[0]).numpy()
    assert similarities[0, 0].tolist() == [-2.0, -3.0, -np.inf]


def test_half_precision_embeddings_give_float32_scores():
    v, s, region_mask, word_mask = make_batch(0)
    exact = alignment_scores(v, s, region_mask, word_mask)
    half = alignment_scores(
        tf.cast(v, tf.bfloat16), tf.cast(s, tf.bfloat16), region_mask, word_mask
    )
    assert half.dtype == tf.float32
    np.testing.assert_allclose(half, exact, atol=0.2)


@pytest.mark.parametrize(("name", "value"), [("score", "worst_region"), ("chunk_size", 0)])
def test_options_are_checked(name, value):
    with pytest.raises(ValueError, match=f"{name} must be .*{value}"):
        alignment_scores(tf.ones([1, 1, 1]), tf.ones([1, 1, 1]), **{name: value})
