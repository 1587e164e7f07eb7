import keras
import numpy as np
import pytest
import tensorflow as tf

from visem_tf.models import alignment_model
from visem_tf.models.alignment_model import AlignmentModel
from visem_tf.models.attention_generator import AttentionGenerator
from visem_tf.models.caption_generator import CaptionGenerator
from visem_tf.models.precision import training_precision
from visem_tf.models.region_encoder import RegionEncoder
from visem_tf.models.saving import load_model, save_model
from visem_tf.models.sentence_encoder import SentenceEncoder
from visem_tf.regions.extractor import Regions
from visem_tf.runs.scoring import Scorer

rng = np.random.default_rng(0)
REGIONS = {
    "region_features": tf.constant(rng.standard_normal((6, 4, 16)), tf.float32),
    "region_mask": tf.ones([6, 4], tf.bool),
}
WORDS = rng.integers(4, 20, (6, 5)).astype(np.int32)
ONES = np.ones((6, 1), np.int32)
SENTENCES = tf.constant(np.hstack([ONES, WORDS, 2 * ONES]))  # START, the words, END
MODELS = {
    "alignment": (
        lambda: AlignmentModel(RegionEncoder(32), SentenceEncoder(20, 32, 32, 16)),
        {**REGIONS, "token_ids": tf.constant(WORDS), "image_ids": tf.range(6)},
    ),
    "mrnn": (
        lambda: CaptionGenerator(20, 32, 16, cell="lstm"),
        {"image_features": REGIONS["region_features"][:, 0], "token_ids": SENTENCES},
    ),
    "attention": (
        lambda: AttentionGenerator(20, hidden_dim=32, word_dim=16, doubly_stochastic=1.0),
        {**REGIONS, "token_ids": SENTENCES},
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_sixteen_bits_train_nearly_alike_and_leave_models_of_32(name, tmp_path):
    build, batch = MODELS[name]
    losses = {}
    for precision in ("float32", "mixed_bfloat16"):
        keras.utils.set_random_seed(0)
        with training_precision(precision):
            model = build()
            model.compile(optimizer=keras.optimizers.SGD(1e-3))
        model(batch)
        for _ in range(3):
            model.reset_metrics()
            losses[precision] = float(model.train_step(batch)["loss"])
    assert losses["float32"] != losses["mixed_bfloat16"]
    assert losses["mixed_bfloat16"] == pytest.approx(losses["float32"], rel=0.02)
    assert all(variable.dtype == "float32" for variable in model.trainable_variables)

    save_model(model, tmp_path / "model.keras")
    loaded = load_model(tmp_path / "model.keras", type(model))
    assert {layer.compute_dtype for layer in (loaded, *loaded.layers)} == {"float32"}
    inputs = {name: value for name, value in batch.items() if name != "image_ids"}
    full = build()
    full(inputs)
    full.set_weights(loaded.get_weights())
    assert loaded(inputs).dtype == tf.float32
    np.testing.assert_allclose(loaded(inputs), full(inputs), rtol=1e-5, atol=1e-5)
    assert keras.config.dtype_policy().name == "float32"


def test_a_model_in_training_ranks_in_16_bits():
    class Cache:
        def batches(self, size):
            arrays = {name: value.numpy() for name, value in REGIONS.items()}
            yield np.arange(6), Regions(boxes=None, scores=None, **arrays)

    build, batch = MODELS["alignment"]
    with training_precision("mixed_bfloat16"):
        model = build()
    scores = model(batch)
    found = Scorer(model)(Cache(), tf.RaggedTensor.from_tensor(batch["token_ids"]))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, scores, rtol=0.02, atol=0.02)


def test_large_batches_are_scored_in_parts_with_the_same_step(monkeypatch):
    build, batch = MODELS["alignment"]
    weights = []
    for most in (2**26, 4 * 30 * 2):  # all at once; two images of 4 regions and 30 words
        monkeypatch.setattr(alignment_model, "MOST_PRODUCTS", most)
        keras.utils.set_random_seed(0)
        model = build()
        model.compile(optimizer=keras.optimizers.SGD(1e-2))
        model(batch)
        model.train_step(batch)
        weights.append(model.get_weights())
    for whole, parts in zip(*weights, strict=True):
        np.testing.assert_allclose(parts, whole, rtol=1e-5, atol=1e-6)
