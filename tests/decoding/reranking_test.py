"""Beams that an alignment model ranks."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from visem_tf.config import GenerateConfig
from visem_tf.decoding import RerankedModel, beam_search
from visem_tf.decoding.captioner import search_sentences
from visem_tf.models.alignment_model import AlignmentModel
from visem_tf.models.attention_generator import AttentionGenerator
from visem_tf.models.caption_generator import CaptionGenerator
from visem_tf.models.region_encoder import RegionEncoder
from visem_tf.models.sentence_encoder import SentenceEncoder
from visem_tf.text import SPECIAL_WORDS, Vocabulary

FEATURES, END = 4, 2
VOCABULARY = Vocabulary([*SPECIAL_WORDS, "a", "dog", "runs", "in", "snow"])
RNG = np.random.default_rng(0)
REGIONS = {
    "region_features": RNG.normal(size=[3, 3, FEATURES]).astype("f4"),
    "region_mask": np.array([[True, True, True], [True, False, False], [True, True, False]]),
}
TOKEN_IDS = np.array(
    [
        [[4, 5, 6, 2], [5, 2, 0, 0], [6, 6, 2, 0]],
        [[7, 8, 2, 0], [4, 4, 4, 4], [2, 0, 0, 0]],
        [[4, 4, 4, 4], [7, 8, 7, 8], [2, 0, 0, 0]],
    ],
    np.int32,
)
LOG_PROBS = np.array([[-1.0, -2.0, -3.0], [-1.5, -2.5, -4.0], [-0.5, -1.0, -9.0]], np.float32)


@pytest.fixture(scope="module", params=["best_region", "cosine"])
def alignment(request):
    keras.utils.set_random_seed(0)
    model = AlignmentModel(
        RegionEncoder(5), SentenceEncoder(9, 5, 6, word_dim=7), score=request.param
    )
    model.build({"region_features": (None, None, FEATURES), "token_ids": (None, None)})
    return model


@pytest.fixture(scope="module")
def generator():
    keras.utils.set_random_seed(1)
    model = AttentionGenerator(9, 4, 5, cell="gru")
    model.build({"region_features": (None, None, FEATURES)})
    return model


def expected_order(alignment, weight, n):
    """The order of the sentences: finished ones first, each group by value."""
    is_cut_off = (TOKEN_IDS != END).all(axis=2)
    return np.lexsort((-expected_values(alignment, weight, n), is_cut_off))


def expected_values(alignment, weight, n):
    """The values by which sentences are ranked, one sentence after the other."""
    regions = alignment.encode_regions(REGIONS["region_features"]).numpy()
    values = np.zeros([3, 3])
    for image, beam in np.ndindex(3, 3):
        tokens = [token for token in TOKEN_IDS[image, beam] if token]
        words = [token for token in tokens if token != END]
        values[image, beam] = LOG_PROBS[image, beam] / len(tokens) ** n
        if not words:
            continue
        v = regions[image][REGIONS["region_mask"][image]]
        s = alignment.encode_sentences(np.array([words], np.int32)).numpy()[0]
        if alignment.score == "cosine":
            v, s = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (v, s))
        values[image, beam] += weight * (s @ v.T).max(axis=1).mean()
    return values


@pytest.mark.parametrize(("weight", "n"), [(0.0, 0.0), (0.0, 2.0), (3.0, 1.25), (100.0, 0.0)])
def test_sentences_are_ranked_by_probability_and_similarity(alignment, generator, weight, n):
    model = RerankedModel([generator], alignment, weight)
    found = model.rank(REGIONS, tf.constant(TOKEN_IDS), tf.constant(LOG_PROBS), n)
    order = expected_order(alignment, weight, n)
    np.testing.assert_array_equal(found[0], np.take_along_axis(TOKEN_IDS, order[..., None], 1))
    np.testing.assert_array_equal(found[1], np.take_along_axis(LOG_PROBS, order, 1))


def test_the_search_ranks_what_the_generator_finds(alignment, generator):
    model = RerankedModel([generator], alignment, weight=100.0)
    settings = GenerateConfig(max_length=5, length_normalisation=1.0, model="attention")
    inputs = tf.nest.map_structure(tf.constant, REGIONS)
    plain = beam_search(generator, inputs, 4, 5, length_normalisation=1.0)
    ranked = search_sentences(model, inputs, VOCABULARY, settings, 4)
    assert np.any(plain[1].numpy() != ranked[1].numpy())
    for found, expected in zip(ranked, model.rank(inputs, *plain, 1.0), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5)
    # Greedy search has one sentence, which remains as it is.
    greedy, again = (
        search_sentences(each, inputs, VOCABULARY, settings, 1) for each in (generator, model)
    )
    np.testing.assert_array_equal(greedy[0], again[0])


@pytest.mark.parametrize("beams", [1, 4])
def test_the_search_blocks_content_words(generator, beams):
    def repeats(blocked):
        settings = GenerateConfig(max_length=12, block_content_words=blocked)
        token_ids, _ = search_sentences(generator, inputs, VOCABULARY, settings, beams)
        sentences = token_ids.numpy().reshape(-1, 12).tolist()
        return [max(sentence.count(word) for word in (5, 6, 8)) > 1 for sentence in sentences]

    inputs = tf.nest.map_structure(tf.constant, REGIONS)
    assert any(repeats(False))
    assert not any(repeats(True))


def test_a_generator_must_read_regions(alignment):
    with pytest.raises(ValueError, match="must read regions"):
        RerankedModel([CaptionGenerator(9, 6, 5)], alignment, 1.0)
