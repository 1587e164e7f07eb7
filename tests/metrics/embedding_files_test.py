"""Vectors from elsewhere: what is read, and every way in which a file does not fit."""

import numpy as np
import pytest

from visem_tf.errors import UserError
from visem_tf.metrics.embedding_files import read_vectors
from visem_tf.runs.scoring import score_vectors

RNG = np.random.default_rng(0)
IMAGES, SENTENCES = RNG.normal(size=[3, 4]), RNG.normal(size=[6, 4])


@pytest.fixture
def saved(tmp_path):
    def save(**arrays):
        np.savez(tmp_path / "v.npz", **arrays)
        return tmp_path / "v.npz"

    return save


def test_one_vector_each_scores_its_dot_product(saved):
    path = saved(image_embeddings=IMAGES, sentence_embeddings=SENTENCES)
    vectors = read_vectors(path)
    assert vectors.shape == (3, 6)
    assert vectors.image_index is None
    np.testing.assert_allclose(score_vectors(vectors), IMAGES @ SENTENCES.T, rtol=1e-5)


def test_several_vectors_score_the_best_region_of_each_word(saved):
    regions, words = RNG.normal(size=[130, 3, 4]), RNG.normal(size=[520, 5, 4])
    region_mask = RNG.random([130, 3]) < 0.7
    region_mask[:, 0] = True
    word_mask = np.arange(5) < RNG.integers(1, 6, 520)[:, np.newaxis]
    path = saved(
        region_embeddings=regions,
        word_embeddings=words,
        region_mask=region_mask,
        word_mask=word_mask,
        image_index=np.arange(520) % 130,
    )
    products = np.einsum("ird,std->isrt", regions, words)
    products[~np.broadcast_to(region_mask[:, None, :, None], products.shape)] = -np.inf
    expected = np.sum(np.where(word_mask[None], products.max(axis=2), 0), axis=2)
    np.testing.assert_allclose(score_vectors(read_vectors(path)), expected, rtol=1e-4, atol=1e-4)


def test_scores_are_taken_as_they_are(saved):
    scores = np.array([[1.0, -np.inf], [2.0, 3.0]])
    vectors = read_vectors(saved(scores=scores, image_index=np.array([0, 1])))
    np.testing.assert_array_equal(score_vectors(vectors), scores)


NAN = np.where(np.arange(3)[:, np.newaxis] == 1, np.nan, IMAGES)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"image_embeddings": IMAGES}, "must have one of word_embeddings and sentence_embeddings"),
        (
            {"image_embeddings": IMAGES, "sentence_embeddings": SENTENCES[:, :3]},
            "image vectors have length 4 and sentence vectors 3",
        ),
        (
            {"image_embeddings": NAN, "sentence_embeddings": SENTENCES},
            "image_embeddings has NaN or infinite numbers, the first in row 1",
        ),
        ({"scores": NAN}, "scores has NaN .* in row 1"),
        (
            {"region_embeddings": IMAGES, "sentence_embeddings": SENTENCES},
            r"region_embeddings must have 3 axes, .* not shape \(3, 4\)",
        ),
        ({"image_embedings": IMAGES}, "unknown array 'image_embedings'; known: region_embeddings"),
        (
            {"image_embeddings": IMAGES.astype(str), "sentence_embeddings": SENTENCES},
            "image_embeddings must be numbers",
        ),
        (
            {
                "image_embeddings": IMAGES,
                "sentence_embeddings": SENTENCES,
                "image_index": np.arange(6),
            },
            "image_index must be from 0 to 2, as there are 3 images, not 0 to 5",
        ),
        (
            {
                "image_embeddings": IMAGES,
                "sentence_embeddings": SENTENCES,
                "image_index": np.zeros(5, int),
            },
            r"image_index must be 6 integers, one per sentence, not int64 of shape \(5,\)",
        ),
        (
            {
                "image_embeddings": IMAGES,
                "sentence_embeddings": SENTENCES,
                "region_mask": np.zeros([3, 1], bool),
            },
            "region_mask leaves image 0 without a region",
        ),
        (
            {
                "image_embeddings": IMAGES,
                "sentence_embeddings": SENTENCES,
                "word_mask": np.ones([6, 2], bool),
            },
            r"word_mask must be bool \[6, 1\], not bool \[6, 2\]",
        ),
        ({"scores": np.array([[{}]], object)}, r"is not an \.npz file of plain arrays"),
    ],
)
def test_what_does_not_fit(saved, arrays, message):
    with pytest.raises(UserError, match=message):
        read_vectors(saved(**arrays))


def test_what_is_no_file_of_vectors(tmp_path):
    path = tmp_path / "v.npz"
    with pytest.raises(UserError, match="is missing"):
        read_vectors(path)
    path.write_text("no zip file")
    with pytest.raises(UserError, match=r"is not an \.npz file"):
        read_vectors(path)
    np.save(tmp_path / "v.npy", np.zeros(3))
    with pytest.raises(UserError, match="single array"):
        read_vectors(tmp_path / "v.npy")
