import itertools

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from visem_tf.alignment.scores import (
    alignment_scores,
    is_collapsed,
    ranking_loss,
    score_spread,
    word_region_similarities,
)

seeds = st.integers(0, 2**32 - 1)


def make_batch(seed, images=3, sentences=4, regions=5, words=6, dim=7):
    """Embeddings with masks; every image has a region, a sentence may have no word."""
    random = np.random.default_rng(seed)
    region_mask = np.arange(regions) < random.integers(1, regions + 1, (images, 1))
    word_mask = np.arange(words) < random.integers(0, words + 1, (sentences, 1))
    v = random.normal(size=(images, regions, dim)).astype(np.float32)
    s = random.normal(size=(sentences, words, dim)).astype(np.float32)
    return v, s, region_mask, word_mask


def scores_by_loops(v, s, region_mask, word_mask, score="best_region", normalise=False):
    """S_kl as the paper writes it."""
    scores = np.zeros((len(v), len(s)))
    for k, n in itertools.product(range(len(v)), range(len(s))):
        for word in s[n][word_mask[n]]:
            products = [float(np.dot(region, word)) for region in v[k][region_mask[k]]]
            if score == "best_region":
                scores[k, n] += max(products)
            else:
                scores[k, n] += sum(max(0, product) for product in products)
        if normalise:
            scores[k, n] /= max(1, word_mask[n].sum())
    return scores


@pytest.mark.parametrize("score", ["best_region", "fragments"])
@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("chunk_size", [None, 1, 2, 3, 100])
@pytest.mark.parametrize("in_graph", [False, True])
def test_scores_equal_loops(score, normalise, chunk_size, in_graph):
    batch = make_batch(0)

    def function(*batch):
        return alignment_scores(
            *batch, score=score, normalise_by_length=normalise, chunk_size=chunk_size
        )

    if in_graph:
        specs = [tf.TensorSpec([None, None, 7])] * 2 + [tf.TensorSpec([None, None], tf.bool)] * 2
        function = tf.function(function, specs)
    scores = function(*map(tf.constant, batch))
    np.testing.assert_allclose(scores, scores_by_loops(*batch, score, normalise), atol=1e-5)


@settings(deadline=None, max_examples=25)
@given(seeds, st.sampled_from(["best_region", "fragments"]))
def test_no_mask_means_all_real(seed, score):
    v, s, region_mask, word_mask = make_batch(seed)
    scores = alignment_scores(v, s, score=score)
    expected = scores_by_loops(v, s, region_mask | True, word_mask | True, score)
    np.testing.assert_allclose(scores, expected, atol=1e-5)


@settings(deadline=None, max_examples=25)
@given(seeds, st.sampled_from(["best_region", "fragments"]))
def test_content_of_padding_and_more_of_it_change_nothing(seed, score):
    v, s, region_mask, word_mask = make_batch(seed)
    before = alignment_scores(v, s, region_mask, word_mask, score=score)
    v[~region_mask], s[~word_mask] = 1e3, -1e3
    v = np.pad(v, [(0, 0), (0, 2), (0, 0)], constant_values=9)
    s = np.pad(s, [(0, 0), (0, 3), (0, 0)], constant_values=9)
    region_mask, word_mask = (
        np.pad(mask, [(0, 0), (0, s)]) for mask, s in ((region_mask, 2), (word_mask, 3))
    )
    after = alignment_scores(v, s, region_mask, word_mask, score=score)
    np.testing.assert_allclose(before, after, atol=1e-5)


@settings(deadline=None, max_examples=25)
@given(seeds)
def test_permuted_regions_keep_scores_and_permute_similarities(seed):
    v, s, region_mask, word_mask = make_batch(seed, images=3, sentences=3)
    order = np.random.default_rng(seed).permutation(v.shape[1])
    np.testing.assert_allclose(
        alignment_scores(v, s, region_mask, word_mask),
        alignment_scores(v[:, order], s, region_mask[:, order], word_mask),
        atol=1e-5,
    )
    np.testing.assert_allclose(
        word_region_similarities(v, s, region_mask).numpy()[..., order],
        word_region_similarities(v[:, order], s, region_mask[:, order]),
        atol=1e-5,
    )


def test_a_padded_region_of_zeros_does_not_win_over_negative_products():
    v = np.array([[[-2.0], [-3.0], [0.0]]], np.float32)
    s = np.array([[[1.0], [0.0]]], np.float32)
    masks = np.array([[True, True, False]]), np.array([[True, False]])
    assert alignment_scores(v, s, *masks).numpy() == [[-2.0]]
    similarities = word_region_similarities(v, s, masks[0]).numpy()
    assert similarities[0, 0].tolist() == [-2.0, -3.0, -np.inf]


@pytest.mark.parametrize("score", ["best_region", "fragments"])
@pytest.mark.parametrize("chunk_size", [None, 2])
def test_gradient_of_scores_equals_finite_differences(score, chunk_size):
    v, s, region_mask, word_mask = make_batch(3, dim=2)
    v, s = tf.constant(v, tf.float64), tf.constant(s, tf.float64)
    weights = np.random.default_rng(4).normal(size=(3, 4))

    def total(v, s):
        options = {"score": score, "chunk_size": chunk_size}
        return tf.reduce_sum(weights * alignment_scores(v, s, region_mask, word_mask, **options))

    theoretical, numerical = tf.test.compute_gradient(total, [v, s], delta=1e-6)
    for exact, approximate in zip(theoretical, numerical, strict=True):
        np.testing.assert_allclose(exact, approximate, atol=1e-6)


def test_half_precision_embeddings_give_float32_scores():
    v, s, region_mask, word_mask = make_batch(0)
    exact = alignment_scores(v, s, region_mask, word_mask)
    half = alignment_scores(
        tf.cast(v, tf.bfloat16), tf.cast(s, tf.bfloat16), region_mask, word_mask
    )
    assert half.dtype == tf.float32
    np.testing.assert_allclose(half, exact, atol=0.2)


def loss_by_loops(scores, image_ids, margin):
    """C as the paper writes it, but leaving out all pairs of one image, not only l = k."""
    loss = 0.0
    for k, n in itertools.product(range(len(scores)), repeat=2):
        if image_ids[k] != image_ids[n]:
            loss += max(0, scores[k, n] - scores[k, k] + margin)
            loss += max(0, scores[n, k] - scores[k, k] + margin)
    return loss


@settings(deadline=None, max_examples=50)
@given(seeds, st.integers(1, 8), st.sampled_from([0.5, 1.0, 2.0]))
def test_loss_equals_loops(seed, size, margin):
    random = np.random.default_rng(seed)
    scores = random.normal(size=(size, size)).astype(np.float32)
    image_ids = random.integers(0, 4, size)
    expected = loss_by_loops(scores, image_ids, margin)
    np.testing.assert_allclose(ranking_loss(scores, image_ids, margin), expected, rtol=1e-5)


def test_a_perfect_model_has_no_loss():
    assert ranking_loss(10 * tf.eye(4), tf.range(4)) == 0.0  # with the diagonal: 2 * 4


def test_sentences_of_one_image_are_no_negatives():
    scores = tf.ones([3, 3])
    assert ranking_loss(scores, tf.constant([5, 5, 5])) == 0.0
    assert ranking_loss(scores, tf.constant([5, 6, 5])) == 2 * 4 * 1.0
    assert ranking_loss(scores, tf.constant([5, 6, 7])) == 2 * 6 * 1.0


def test_scores_are_sums_over_words_unless_normalised():
    v, s = tf.ones([1, 1, 1]), tf.ones([1, 4, 1])
    assert alignment_scores(v, s).numpy() == [[4.0]]
    assert alignment_scores(v, s, normalise_by_length=True).numpy() == [[1.0]]


def test_collapse():
    equal, ids = tf.fill([5, 5], 3.0), tf.range(5)
    loss = float(ranking_loss(equal, ids)) / 5
    assert loss == 8.0
    assert is_collapsed(loss, 5)
    assert is_collapsed(2 * loss, 5, margin=2.0)
    assert is_collapsed(loss, 5, spread=float(score_spread(equal, ids)))
    assert not is_collapsed(loss, 5, spread=0.5)
    assert not is_collapsed(7.9, 5)
    assert not is_collapsed(loss, 6)
    assert not is_collapsed(0.0, 1)


@settings(deadline=None, max_examples=25)
@given(seeds)
def test_spread_is_the_mean_distance_and_bounds_how_far_the_loss_is_from_collapse(seed):
    random = np.random.default_rng(seed)
    scores, image_ids = random.normal(size=(6, 6)), random.integers(0, 4, 6)
    negatives = [(k, n) for k in range(6) for n in range(6) if image_ids[k] != image_ids[n]]
    distances = [abs(scores[k, n] - scores[i, i]) for k, n in negatives for i in (k, n)]
    spread = float(score_spread(scores, image_ids))
    np.testing.assert_allclose(spread, np.mean(distances) if distances else 0)
    if negatives:
        loss = float(ranking_loss(scores, image_ids)) / (2 * len(negatives))
        assert abs(loss - 1) <= spread + 1e-6


@pytest.mark.parametrize(("name", "value"), [("score", "worst_region"), ("chunk_size", 0)])
def test_options_are_checked(name, value):
    with pytest.raises(ValueError, match=f"{name} must be .*{value}"):
        alignment_scores(tf.ones([1, 1, 1]), tf.ones([1, 1, 1]), **{name: value})
