"""Hubness of images and sentences, against its formula."""

import numpy as np
import pytest
import tensorflow as tf

from visem_tf.alignment.hubness import Bank, Hubness, check_bank, projections

DIM = 5
SCALE = 0.7


def embeddings(seed, count, size):
    """Embeddings float32 [count, size, DIM] and their mask, with at least one real row each."""
    random = np.random.default_rng(seed)
    mask = np.arange(size) < random.integers(1, size + 1, [count, 1])
    return random.normal(size=[count, size, DIM]).astype(np.float32), mask


@pytest.fixture(scope="module")
def bank_data():
    """Region embeddings and words of a bank of 6 images and 9 sentences, with their masks."""
    return (*embeddings(0, 6, 3), *embeddings(1, 9, 4))


@pytest.fixture(scope="module")
def bank(bank_data):
    regions, region_mask, words, word_mask = bank_data
    exact = np.linalg.qr(np.random.default_rng(2).normal(size=[DIM, DIM]))[0].astype(np.float32)
    sentence = np.repeat(np.arange(9), word_mask.sum(axis=1)).astype(np.int32)
    return Bank(exact, exact, regions @ exact, region_mask, words[word_mask] @ exact, sentence)


def reference_scores(regions, region_mask, words, word_mask, mean):
    """S_kl of every image with every sentence, one after the other."""
    scores = np.zeros([len(regions), len(words)])
    for image, sentence in np.ndindex(*scores.shape):
        v, s = regions[image][region_mask[image]], words[sentence][word_mask[sentence]]
        of_words = (s @ v.T).max(axis=1)
        scores[image, sentence] = of_words.mean() if mean else of_words.sum()
    return scores


def unit_vectors(masked):
    vectors, mask = masked
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True), mask


@pytest.mark.parametrize(
    ("score", "normalise"), [("best_region", False), ("best_region", True), ("cosine", False)]
)
@pytest.mark.parametrize("wrap", [lambda function: function, tf.function])
def test_it_agrees_with_the_formula(bank, bank_data, score, normalise, wrap):
    images, sentences = embeddings(3, 4, 3), embeddings(4, 7, 5)
    mean = normalise or score == "cosine"
    hubness = Hubness(bank, SCALE, score, normalise)
    found = (
        wrap(hubness.of_images)(*map(tf.constant, images)),
        wrap(hubness.of_sentences)(*map(tf.constant, sentences)),
    )
    if score == "cosine":  # the bank has vectors of length 1 already
        images, sentences = map(unit_vectors, (images, sentences))
    of_bank, of_images, of_sentences = (
        np.exp(SCALE * reference_scores(*of_regions, *of_words, mean))
        for of_regions, of_words in (
            (bank_data[:2], bank_data[2:]),
            (images, bank_data[2:]),
            (bank_data[:2], sentences),
        )
    )
    expected = (
        np.log((of_images / of_bank.sum(axis=0)).sum(axis=1)) / SCALE,
        np.log((of_sentences / of_bank.sum(axis=1, keepdims=True)).sum(axis=0)) / SCALE,
    )
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_chunks_change_nothing(bank):
    hubness = Hubness(bank, SCALE)
    assert hubness.images_at_a_time > 6
    for function, inputs in (
        (hubness.of_images, embeddings(3, 4, 3)),
        (hubness.of_sentences, embeddings(4, 7, 5)),
    ):
        values = tuple(map(tf.constant, inputs))
        np.testing.assert_allclose(function(*values, chunk_size=3), function(*values), rtol=1e-5)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda bank: {"region_projection": bank.region_projection[:4]}, "another alignment model"),
        (lambda bank: {"word_projection": bank.word_projection[:, :4]}, "another alignment model"),
        (lambda bank: {"region_projection": np.float32(1)}, "another alignment model"),
        (lambda bank: {"regions": bank.regions[0]}, "do not fit together"),
        (lambda bank: {"region_mask": bank.region_mask[:, :2]}, "do not fit together"),
        (lambda bank: {"region_mask": bank.region_mask & False}, "do not fit together"),
        (lambda bank: {"words": bank.words[1:]}, "do not fit together"),
        (lambda bank: {"sentence": bank.sentence.astype(np.float32)}, "do not fit together"),
        (lambda bank: {"sentence": bank.sentence[::-1]}, "not in order"),
        (lambda bank: {"sentence": bank.sentence * 2}, "not in order"),
        (lambda bank: {"words": bank.words * np.nan}, "not finite"),
    ],
)
def test_a_damaged_bank_is_refused(bank, damage, message):
    check_bank(bank, DIM)
    with pytest.raises(ValueError, match=message):
        check_bank(bank._replace(**damage(bank)), DIM)


def test_an_image_that_fits_every_sentence_is_a_hub(bank, bank_data):
    hub = np.concatenate(list(bank_data[0]))[np.newaxis]  # has every region of the bank
    others, mask = bank_data[:2]
    hubness = Hubness(bank, SCALE)
    assert hubness.of_images(tf.constant(hub)) > np.max(hubness.of_images(others, mask))


@pytest.mark.parametrize("dim", [1, 3, 5, 9])
def test_projections_have_the_smallest_error(dim):
    random = np.random.default_rng(0)
    regions = random.normal(size=[50, DIM]).astype(np.float32) * [3, 2, 1, 0.5, 0.1]
    words = random.normal(size=[40, DIM]).astype(np.float32) @ random.normal(size=[DIM, DIM])
    a, b = projections(regions, words, dim)
    assert a.shape == b.shape == (DIM, min(dim, DIM))
    products = regions @ words.T
    error = np.linalg.norm(products - (regions @ a) @ (words @ b).T)
    left, values, right = np.linalg.svd(products, full_matrices=False)
    best = np.linalg.norm(products - left[:, :dim] * values[:dim] @ right[:dim])
    assert error == pytest.approx(best, rel=1e-3, abs=1e-3)


def test_directions_that_no_region_has():
    regions, words = np.float32([[3, 0, 0], [0, 1, 0]]), np.float32([[2, 0, 5], [0, 1, 0]])
    a, b = projections(regions, words, 3)
    np.testing.assert_allclose((regions @ a) @ (words @ b).T, regions @ words.T, atol=1e-4)
