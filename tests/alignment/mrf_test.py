"""The chain MRF against enumeration of all assignments."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from visem_tf.alignment.mrf import smooth_alignment

seeds = st.integers(0, 2**32 - 1)


def energy(assignment, similarities, beta):
    """E(a) as the paper's equation has it, for the words of one sentence."""
    unary = -sum(similarities[j, region] for j, region in enumerate(assignment))
    pairs = itertools.pairwise(assignment)
    return unary - beta * sum(one == next_one for one, next_one in pairs)


def lowest_energy(similarities, beta):
    """The minimum of E over all M^N assignments."""
    words, regions = similarities.shape
    return min(
        energy(assignment, similarities, beta)
        for assignment in itertools.product(range(regions), repeat=words)
    )


in_graph = tf.function(
    lambda similarities, word_mask, region_mask, beta: smooth_alignment(
        similarities, word_mask, region_mask, beta=beta
    ),
    [
        tf.TensorSpec([None, None, None]),
        tf.TensorSpec([None, None], tf.bool),
        tf.TensorSpec([None, None], tf.bool),
        tf.TensorSpec([]),
    ],
)


@settings(deadline=None, max_examples=20)
@given(
    seeds,
    st.sampled_from([0.0, 0.1, 0.5, 1.0, 3.0, 50.0]),
    st.sampled_from([smooth_alignment, in_graph]),
)
def test_equals_enumeration(seed, beta, function):
    random = np.random.default_rng(seed)
    batch, words, regions = 3, 5, 4
    similarities = random.normal(size=(batch, words, regions)).astype(np.float32)
    word_mask = np.arange(words) < random.integers(0, words + 1, (batch, 1))
    region_mask = random.random((batch, regions)) < 0.6
    region_mask[:, 0] |= ~region_mask.any(axis=1)
    answer = function(similarities, word_mask, region_mask, beta=beta)
    assert answer.dtype == tf.int32
    assert answer.shape == (batch, words)
    for row in range(batch):
        length = word_mask[row].sum()
        chosen = answer[row].numpy()
        assert (chosen[length:] == -1).all()
        chosen = chosen[:length]
        assert region_mask[row, chosen].all()
        allowed = np.where(region_mask[row], similarities[row, :length].astype(float), -1e9)
        np.testing.assert_allclose(
            energy(chosen.tolist(), allowed, beta), lowest_energy(allowed, beta), atol=1e-5
        )


def test_without_beta_every_word_has_its_best_region():
    similarities = np.random.default_rng(0).normal(size=(4, 9, 20))
    answer = smooth_alignment(similarities)
    np.testing.assert_array_equal(answer, similarities.argmax(axis=2))


@pytest.mark.parametrize("beta", [1e3, 1e8, float("inf")])
def test_a_large_beta_gives_the_best_common_region_in_full_precision(beta):
    similarities = np.random.default_rng(1).normal(size=(50, 12, 20)).astype(np.float32)
    expected = similarities.astype(float).sum(axis=1).argmax(axis=1)
    answer = smooth_alignment(similarities, beta=beta).numpy()
    np.testing.assert_array_equal(answer, np.repeat(expected[:, np.newaxis], 12, axis=1))


@settings(deadline=None, max_examples=10)
@given(seeds, st.sampled_from([0.0, 0.5, 2.0]))
def test_permuted_regions_permute_the_answer_and_padding_changes_nothing(seed, beta):
    random = np.random.default_rng(seed)
    similarities = random.normal(size=(3, 6, 5))
    answer = smooth_alignment(similarities, beta=beta).numpy()
    order = random.permutation(5)
    permuted = smooth_alignment(similarities[..., order], beta=beta).numpy()
    np.testing.assert_array_equal(order[permuted], answer)

    padded = np.pad(similarities, [(0, 0), (0, 2), (0, 3)], constant_values=99)
    word_mask = np.arange(8) < np.full((3, 1), 6)
    region_mask = np.arange(8) < np.full((3, 1), 5)
    more = smooth_alignment(padded, word_mask, region_mask, beta=beta).numpy()
    np.testing.assert_array_equal(more[:, :6], answer)
    assert (more[:, 6:] == -1).all()


def test_empty_shapes():
    assert smooth_alignment(tf.ones([2, 0, 3])).shape == (2, 0)
    assert smooth_alignment(tf.ones([0, 4, 3])).shape == (0, 4)
    nothing = smooth_alignment(tf.ones([2, 4, 3]), tf.zeros([2, 4], tf.bool))
    assert (nothing.numpy() == -1).all()


def test_a_saved_function_takes_any_shape(tmp_path):
    module = tf.Module()
    module.align = tf.function(
        lambda similarities, mask: smooth_alignment(similarities, mask, beta=0.7),
        [tf.TensorSpec([None, None, None]), tf.TensorSpec([None, None], tf.bool)],
    )
    tf.saved_model.save(module, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path))
    random = np.random.default_rng(2)
    for shape in ((2, 7, 5), (3, 1, 1), (1, 0, 4)):
        similarities = tf.constant(random.normal(size=shape), tf.float32)
        mask = tf.ones(shape[:2], tf.bool)
        np.testing.assert_array_equal(
            loaded.align(similarities, mask), smooth_alignment(similarities, mask, beta=0.7)
        )


@pytest.mark.parametrize("beta", [-0.1, float("nan")])
def test_beta_is_checked(beta):
    with pytest.raises(ValueError, match="beta must be at least 0"):
        smooth_alignment(tf.ones([1, 2, 3]), beta=beta)
