"""Models that start from the weights of others with fewer words."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from visem_tf.models.alignment_model import AlignmentModel
from visem_tf.models.attention_generator import AttentionGenerator
from visem_tf.models.caption_generator import CaptionGenerator
from visem_tf.models.region_encoder import RegionEncoder
from visem_tf.models.sentence_encoder import SentenceEncoder
from visem_tf.models.transfer import copy_weights, freeze_alignment, freeze_words

FEATURES = np.random.default_rng(0).random([2, 3, 5], np.float32)
OLD_WORDS = np.array([[4, 5, 6], [7, 9, 0]], np.int32)


def alignment(words: int, seed: int, **options) -> AlignmentModel:
    keras.utils.set_random_seed(seed)
    sentences = SentenceEncoder(words, 8, 7, word_dim=6, **options)
    model = AlignmentModel(RegionEncoder(8, feature_scale=10.0), sentences)
    model.build({"region_features": (None, None, 5), "token_ids": (None, None)})
    return model


def test_sentences_of_known_words_have_the_same_embeddings():
    old, new = alignment(10, 0), alignment(13, 1)
    old.region_encoder.scaling.adapt(FEATURES.reshape(-1, 5))
    fresh = np.asarray(new.sentence_encoder.word_vectors.embeddings)
    copy_weights(old, new, (10, 13))
    for part, inputs in (("sentence_encoder", OLD_WORDS), ("region_encoder", FEATURES)):
        np.testing.assert_array_equal(getattr(old, part)(inputs), getattr(new, part)(inputs))
    embeddings = np.asarray(new.sentence_encoder.word_vectors.embeddings)
    np.testing.assert_array_equal(embeddings[10:], fresh[10:])


@pytest.mark.parametrize("kind", [CaptionGenerator, AttentionGenerator])
def test_generators_give_known_words_the_same_logits(kind):
    name = "image_features" if kind is CaptionGenerator else "region_features"
    inputs = {name: FEATURES[:, 0] if kind is CaptionGenerator else FEATURES}
    inputs["token_ids"] = np.array([[1, 4, 5], [1, 9, 6]], np.int32)
    models = []
    for words in (10, 13):
        keras.utils.set_random_seed(words)
        model = kind(words, 8, 6, cell="lstm", feature_scale=10.0)
        model.build({key: (None,) * (value.ndim - 1) + (5,) for key, value in inputs.items()})
        models.append(model)
    copy_weights(*models, (10, 13))
    old, new = (model(inputs).numpy() for model in models)
    np.testing.assert_allclose(old, new[:, :, :10], rtol=1e-5)


def test_other_differences_are_refused_and_nothing_is_copied():
    old, new = alignment(10, 0), alignment(13, 1)
    before = [np.array(weight) for weight in new.weights]
    with pytest.raises(ValueError, match=r"word_vectors.* has the shape \[13, 6\] here and \[10"):
        copy_weights(old, new, (9, 13))
    with pytest.raises(ValueError, match="has other weights"):
        copy_weights(old, CaptionGenerator(10), (10, 10))
    for a, b in zip(before, new.weights, strict=True):
        np.testing.assert_array_equal(a, b)


def changed(model: AlignmentModel) -> set[str]:
    """Takes a step, and returns the variables that it changes, and new words as a variable."""
    before = {weight.path: np.array(weight) for weight in model.weights}
    model.compile(optimizer=keras.optimizers.AdamW(0.1, weight_decay=0.1))
    model.optimizer.build(model.trainable_variables)
    words = tf.constant([[4, 5, 11], [7, 12, 0]])
    model.train_step({"region_features": FEATURES, "token_ids": words, "image_ids": [0, 1]})
    found = set()
    for weight in model.weights:
        rows = np.any(before[weight.path] != np.asarray(weight), axis=tuple(range(1, weight.ndim)))
        if "word_vectors" in weight.path:
            found |= {"old words"} if rows[:10].any() else set()
            found |= {"new words"} if rows[10:].any() else set()
        elif rows.any():
            found.add("region_encoder" if "region_encoder" in weight.path else "sentence_encoder")
    return found


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ((), {"region_encoder", "sentence_encoder", "old words", "new words"}),
        (("region_encoder",), {"sentence_encoder", "old words", "new words"}),
        (("sentence_encoder",), {"region_encoder", "old words", "new words"}),
        (("word_vectors",), {"region_encoder", "sentence_encoder", "new words"}),
        (("region_encoder", "sentence_encoder", "word_vectors"), {"new words"}),
    ],
)
def test_frozen_parts_keep_their_weights(parts, expected):
    model = alignment(13, 0)
    freeze_alignment(model, parts, 10)
    assert changed(model) == expected


def test_all_words_can_be_known():
    model = alignment(10, 0)
    freeze_words(model.sentence_encoder.word_vectors, 10)
    assert not model.sentence_encoder.word_vectors.trainable
