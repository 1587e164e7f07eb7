"""Losses against loops written from the papers."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from visem_tf.alignment.losses import (
    LOSSES,
    get_loss,
    ranking_loss,
    score_spread,
    swapped_noun_loss,
)
from visem_tf.config import registry

seeds = st.integers(0, 2**32 - 1)


def by_loops(name, scores, image_ids, margin, temperature):
    """C, leaving out all pairs of one image, not only l = k."""
    total = 0.0
    for k in range(len(scores)):
        others = [n for n in range(len(scores)) if image_ids[n] != image_ids[k]]
        for row in (scores[k], scores[:, k]):
            hinges = [max(0.0, row[n] - row[k] + margin) for n in others]
            if name == "hinge_sum":
                total += sum(hinges)
            elif name == "hinge_max":
                total += max(hinges, default=0.0)
            else:
                exponents = [np.exp(row[n] / temperature) for n in [k, *others]]
                total -= np.log(exponents[0] / sum(exponents))
    return total


def test_the_registry_lists_the_losses():
    assert tuple(LOSSES) == registry.LOSSES
    scales = [LOSSES[name].scale for name in ("hinge_max", "hinge_sum", "infonce")]
    assert scales == ["margin", "margin", "temperature"]


@pytest.mark.parametrize("name", LOSSES)
@settings(deadline=None, max_examples=40)
@given(seed=seeds, size=st.integers(1, 7), number=st.sampled_from([0.3, 1.0, 2.0]))
def test_losses_equal_loops(name, seed, size, number):
    random = np.random.default_rng(seed)
    scores, image_ids = random.normal(size=(size, size)), random.integers(0, 4, size)
    found = get_loss(name).function(tf.constant(scores), tf.constant(image_ids), number)
    expected = by_loops(name, scores, image_ids, number, number)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", LOSSES)
def test_sentences_of_one_image_are_no_negatives(name):
    """Their scores change nothing, and get no gradient."""
    image_ids = tf.constant([5, 6, 5])
    scores = tf.Variable(np.random.default_rng(0).normal(size=(3, 3)))
    with tf.GradientTape() as tape:
        loss = get_loss(name).function(scores, image_ids, 3.0)
    gradient = tape.gradient(loss, scores).numpy()
    assert gradient[0, 2] == gradient[2, 0] == 0
    assert np.isfinite(gradient).all()
    assert np.abs(gradient).max() > 0.1
    other = scores.numpy()
    other[0, 2] = other[2, 0] = 100.0
    same = get_loss(name).function(tf.constant(other), image_ids, 3.0)
    np.testing.assert_allclose(same, loss)


def test_only_the_hardest_negatives_move():
    scores = tf.Variable([[1.0, 0.9, 0.5], [0.2, 1.0, 0.4], [0.3, 0.8, 1.0]])
    with tf.GradientTape() as tape:
        loss = get_loss("hinge_max").function(scores, tf.range(3), 1.0)
    gradient = tape.gradient(loss, scores).numpy()
    hardest = {(0, 1), (1, 2), (2, 1)} | {(2, 0), (0, 1), (0, 2)}  # of rows, of columns
    for place in itertools.permutations(range(3), 2):
        assert (gradient[place] > 0) == (place in hardest)


@settings(deadline=None, max_examples=25)
@given(seeds)
def test_the_true_sentence_is_compared_with_the_real_swapped_ones(seed):
    random = np.random.default_rng(seed)
    scores, real = random.normal(size=(4, 3)), random.uniform(size=(4, 3)) < 0.6
    real[:, 0], real[0, 1:] = True, False
    expected = 0.0
    for row, used in zip(scores, real, strict=True):
        powers = np.exp(row[used] / 0.3)
        expected -= np.log(powers[0] / powers.sum())
    variable = tf.Variable(scores)
    with tf.GradientTape() as tape:
        loss = swapped_noun_loss(variable, tf.constant(real), 0.3)
    np.testing.assert_allclose(loss, expected, rtol=1e-6, atol=1e-12)
    gradient = tape.gradient(loss, variable).numpy()
    assert (gradient[~real] == 0).all()
    assert (gradient[0] == 0).all()  # no false sentence
    np.testing.assert_allclose(gradient.sum(axis=1), 0, atol=1e-12)


def test_an_unknown_loss_is_named():
    with pytest.raises(ValueError, match="loss must be one of hinge_max, hinge_sum, infonce"):
        get_loss("hinge")


def test_a_perfect_model_has_no_loss():
    assert ranking_loss(10 * tf.eye(4), tf.range(4)) == 0.0  # with the diagonal: 2 * 4


def test_a_collapsed_model_pays_the_margin_for_every_negative_and_has_no_spread():
    equal, ids = tf.fill([5, 5], 3.0), tf.range(5)
    assert float(ranking_loss(equal, ids, 2.0)) == 2 * 5 * 4 * 2.0
    assert float(ranking_loss(equal, tf.constant([5, 6, 5, 5, 5]))) == 2 * 8 * 1.0
    assert float(score_spread(equal, ids)) == 0.0


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
