import keras
import numpy as np
import pytest

from visem_tf.models.alignment_model import AlignmentModel
from visem_tf.models.region_encoder import RegionEncoder
from visem_tf.models.sentence_encoder import SentenceEncoder
from visem_tf.regions.extractor import Regions
from visem_tf.stages.word_index import word_embeddings, word_scores
from visem_tf.text import Vocabulary

VOCABULARY = Vocabulary.build(["a dog runs", "a cat"], min_count=1)
SENTENCES = ["a dog runs", "a cat zebra a", "?"]


@pytest.fixture(scope="module")
def model() -> AlignmentModel:
    keras.utils.set_random_seed(0)
    return AlignmentModel(
        RegionEncoder(6), SentenceEncoder(len(VOCABULARY), 6, 5, word_dim=4, dropout_hidden=0.0)
    )


def test_a_word_scores_its_mean_embedding_with_the_best_real_region(model: AlignmentModel):
    generator = np.random.default_rng(0)
    features = generator.normal(size=(3, 4, 7)).astype(np.float32)
    mask = np.array([[True] * 4, [True, False, False, False], [True, True, True, False]])
    regions = Regions(features, np.zeros([3, 4, 4]), np.zeros([3, 4]), mask)
    found = word_scores(model, word_embeddings(model, VOCABULARY, SENTENCES, 3), regions)
    pictures = np.asarray(model.encode_regions(features))
    seen: dict[str, list[np.ndarray]] = {}
    for sentence in ("a dog runs", "a cat zebra"):  # cut to three words
        token_ids = VOCABULARY.encode([sentence]).to_tensor(0)
        embeddings = np.asarray(model.encode_sentences(token_ids))[0]
        for word, embedding in zip(sentence.split(), embeddings, strict=True):
            seen.setdefault(word, []).append(embedding)
    assert found.shape == (len(VOCABULARY) - 4, 3)
    for row, word in enumerate(VOCABULARY.words[4:]):
        products = pictures @ np.mean(seen[word], axis=0)
        expected = np.where(mask, products, -np.inf).max(axis=1)
        np.testing.assert_allclose(found[row], expected, rtol=1e-4, atol=1e-4)


def test_a_word_that_nobody_used_stands_alone(model: AlignmentModel):
    features = np.random.default_rng(0).normal(size=(2, 1, 7)).astype(np.float32)
    regions = Regions(features, np.zeros([2, 1, 4]), np.zeros([2, 1]), np.ones([2, 1], bool))
    found = word_scores(model, word_embeddings(model, VOCABULARY, ["a dog runs"], 9), regions)
    token_id = VOCABULARY.words.index("cat")
    alone = np.asarray(model.encode_sentences(np.array([[token_id]], np.int32)))[0, 0]
    expected = np.asarray(model.encode_regions(features))[:, 0] @ alone
    np.testing.assert_allclose(found[token_id - 4], expected, rtol=1e-4, atol=1e-4)
