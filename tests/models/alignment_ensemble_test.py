"""Joined alignment models compute the means of the similarities of their members."""

import numpy as np
import pytest

from tests.models.alignment_model_test import FEATURES, HIDDEN, VOCABULARY, WORD, make_batch
from visem_tf.models.alignment_ensemble import join_models
from visem_tf.models.alignment_model import AlignmentModel
from visem_tf.models.region_encoder import RegionEncoder
from visem_tf.models.saving import load_model, save_model
from visem_tf.models.sentence_encoder import GruSentenceEncoder, SentenceEncoder

DIM = 15  # a multiple of the three gates, which the layers of this size do not have


def make_members(encoder, region_context="none", count=3):
    members = []
    for seed in range(count):
        model = AlignmentModel(
            RegionEncoder(DIM, feature_scale=10.0, region_context=region_context),
            encoder(VOCABULARY, DIM, HIDDEN, WORD),
        )
        model.build({"region_features": (None, 4, FEATURES), "token_ids": (None, None)})
        random = np.random.default_rng(seed)
        model.set_weights([random.normal(0, 0.3, w.shape) for w in model.get_weights()])
        model.region_encoder.scaling.centre.assign(np.linspace(0, 0.1, FEATURES))
        members.append(model)
    return members


@pytest.mark.parametrize("region_context", ["none", "frame"])
@pytest.mark.parametrize("encoder", [SentenceEncoder, GruSentenceEncoder])
def test_similarities_are_the_means_of_those_of_the_members(encoder, region_context):
    members, batch = make_members(encoder, region_context), make_batch()
    joined = join_models(members)
    found = [np.asarray(model.word_region_similarities(batch)) for model in [joined, *members]]
    real = np.isfinite(found[0])
    mean = np.mean([each[real] for each in found[1:]], axis=0)
    np.testing.assert_allclose(found[0][real], mean, rtol=1e-4, atol=1e-5)
    assert np.std(mean) > 0.1


def test_a_joined_model_is_saved_and_loaded_like_any_other(tmp_path):
    joined, batch = join_models(make_members(SentenceEncoder, count=2)), make_batch()
    save_model(joined, tmp_path / "joined.keras")
    loaded = load_model(tmp_path / "joined.keras", AlignmentModel)
    np.testing.assert_array_equal(loaded(batch), joined(batch))


def test_members_of_different_kinds_are_refused():
    members = [
        make_members(encoder, count=1)[0] for encoder in (SentenceEncoder, GruSentenceEncoder)
    ]
    with pytest.raises(ValueError, match="sentence_encoder"):
        join_models(members)
