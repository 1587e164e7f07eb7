"""The MRF with weights by kind of word, against enumeration of all assignments."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from visem_tf.alignment.function_words import weigh_function_words
from visem_tf.alignment.mrf import smooth_alignment

BETA = 0.8


def value(chain, similarities, is_function, weight, boundary):
    """-E(a) by the definition in `weigh_function_words`."""
    total = 0.0
    for word, region in enumerate(chain):
        total += similarities[word, region] * (weight if is_function[word] else 1)
        if word and chain[word - 1] == region:
            ends_phrase = is_function[word] and not is_function[word - 1]
            total += BETA * (boundary if ends_phrase else 1)
    return total


@pytest.mark.parametrize(("weight", "boundary"), [(1, 1), (0, 1), (0.5, 0), (0, 0.25), (1, 2)])
def test_the_regions_minimise_the_weighted_energy(weight, boundary):
    random = np.random.default_rng(0)
    similarities = random.normal(size=(6, 5, 3)).astype(np.float32)
    is_function = random.random((6, 5)) < 0.5
    region_mask = np.array([[True, True, True], [True, False, True]] * 3)
    masked = np.where(region_mask[:, np.newaxis], similarities, -np.inf)
    weighted, beta = weigh_function_words(
        masked, is_function, BETA, weight=weight, boundary=boundary
    )
    found = smooth_alignment(weighted, None, region_mask, beta=beta).numpy()
    for row in range(6):
        arguments = (similarities[row], is_function[row], weight, boundary)
        regions = np.flatnonzero(region_mask[row])
        assert set(found[row]) <= set(regions)
        best = max(value(a, *arguments) for a in itertools.product(regions, repeat=5))
        assert value(found[row], *arguments) == pytest.approx(best, abs=1e-5)


def test_with_both_at_one_it_is_the_mrf_of_the_paper():
    random = np.random.default_rng(1)
    similarities = random.normal(size=(8, 7, 4)).astype(np.float32)
    weighted, beta = weigh_function_words(similarities, random.random((8, 7)) < 0.5, BETA)
    np.testing.assert_array_equal(weighted, similarities)
    np.testing.assert_array_equal(
        smooth_alignment(weighted, beta=beta), smooth_alignment(similarities, beta=BETA)
    )


@pytest.mark.parametrize("beta", [0.0, 0.3])
def test_without_weight_function_words_take_the_region_of_the_next_word(beta):
    similarities = tf.constant([[[5.0, 0, 0], [9, 0, 0], [9, 0, 0], [0, 0, 5], [9, 0, 0]]])
    is_function = tf.constant([[False, True, True, False, True]])
    weighted, rewards = weigh_function_words(similarities, is_function, beta, weight=0.0)
    found = smooth_alignment(weighted, beta=rewards).numpy()[0]
    assert found[:4].tolist() == [0, 2, 2, 2]
