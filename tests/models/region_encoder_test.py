import keras
import numpy as np
import pytest
import tensorflow as tf

from visem_tf.models.layers import FeatureScale
from visem_tf.models.region_encoder import RegionEncoder


def test_embeddings_are_affine_in_the_features():
    encoder = RegionEncoder(embedding_dim=4)
    features = np.random.default_rng(0).normal(size=(2, 3, 5)).astype(np.float32)
    encoder(features)
    kernel, bias = np.random.default_rng(1).normal(size=(5, 4)), np.arange(4.0)
    encoder.set_weights([kernel, bias])
    np.testing.assert_allclose(encoder(features), features @ kernel + bias, atol=1e-5)


def test_dropout_is_on_the_features_in_training_only():
    encoder = RegionEncoder(embedding_dim=6, dropout=0.5)
    features = tf.ones([1, 50, 6])
    encoder(features)
    encoder.set_weights([np.eye(6), np.zeros(6)])
    np.testing.assert_array_equal(encoder(features), features)
    assert set(np.unique(encoder(features, training=True))) == {0.0, 2.0}


@pytest.mark.parametrize(("regions", "embedding_dim"), [(1280, 64), (32, 300)])
def test_features_of_length_10_start_as_embeddings_of_length_sqrt_5(regions, embedding_dim):
    features = np.random.default_rng(0).normal(size=(4, 50, regions))
    features *= 10 / np.linalg.norm(features, axis=-1, keepdims=True)
    embeddings = RegionEncoder(embedding_dim)(features.astype(np.float32))
    mean_square = np.mean(np.sum(embeddings.numpy() ** 2, axis=-1))
    np.testing.assert_allclose(mean_square, 5, rtol=0.2)


def test_a_saved_encoder_gives_the_same_embeddings(tmp_path):
    inputs = keras.Input([None, 5])
    model = keras.Model(inputs, RegionEncoder(4, dropout=0.1)(inputs))
    model.save(tmp_path / "encoder.keras")
    loaded = keras.models.load_model(tmp_path / "encoder.keras")
    features = tf.random.stateless_normal([2, 3, 5], (0, 1))
    np.testing.assert_array_equal(model(features), loaded(features))
    assert loaded.layers[1].get_config() == model.layers[1].get_config()


@pytest.mark.parametrize(("name", "value"), [("embedding_dim", 0), ("dropout", 1.0)])
def test_arguments_are_checked(name, value):
    with pytest.raises(ValueError, match=f"{name} must be .*{value}"):
        RegionEncoder(**{"embedding_dim": 4, name: value})


def test_all_vectors_get_the_same_length_and_keep_their_direction():
    features = np.random.default_rng(0).normal(size=(2, 3, 5)).astype(np.float32)
    scaled = FeatureScale(10.0)(features).numpy()
    np.testing.assert_allclose(np.linalg.norm(scaled, axis=-1), 10, rtol=1e-5)
    lengths = np.linalg.norm(features, axis=-1, keepdims=True)
    np.testing.assert_allclose(scaled / 10, features / lengths, atol=1e-5)


def test_scale_0_changes_nothing():
    features = tf.constant([[3.0, 4.0]])
    np.testing.assert_array_equal(FeatureScale(0.0)(features), features)


def test_the_zero_vector_stays_zero_with_a_finite_gradient():
    features = tf.zeros([1, 3])
    with tf.GradientTape() as tape:
        tape.watch(features)
        scaled = FeatureScale(10.0)(features)
    np.testing.assert_array_equal(scaled, [[0.0, 0.0, 0.0]])
    assert np.isfinite(tape.gradient(scaled, features)).all()


def test_a_region_encoder_scales_before_its_affine_map_and_is_saved_with_it(tmp_path):
    inputs = keras.Input([None, 5])
    model = keras.Model(inputs, RegionEncoder(4, feature_scale=10.0)(inputs))
    features = np.random.default_rng(0).normal(size=(2, 3, 5)).astype(np.float32)
    np.testing.assert_allclose(model(features), model(7 * features), atol=1e-5)
    model.save(tmp_path / "encoder.keras")
    loaded = keras.models.load_model(tmp_path / "encoder.keras")
    np.testing.assert_array_equal(model(features), loaded(features))


def test_scale_is_checked():
    with pytest.raises(ValueError, match=r"scale must be at least 0, not -1\.0"):
        FeatureScale(-1.0)


def test_adapt_takes_away_the_mean_direction_and_is_saved(tmp_path):
    features = np.abs(np.random.default_rng(1).normal(3, 1, size=(50, 5))).astype(np.float32)
    layer = FeatureScale(10.0)
    layer.adapt(features)
    scaled = layer(features).numpy()
    units = features / np.linalg.norm(features, axis=1, keepdims=True)
    expected = units - units.mean(axis=0)
    expected *= 10 / np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(scaled, expected, atol=1e-3)
    assert not layer.trainable_variables
    inputs = keras.Input([5])
    model = keras.Model(inputs, layer(inputs))
    model.save(tmp_path / "scale.keras")
    loaded = keras.models.load_model(tmp_path / "scale.keras")
    np.testing.assert_allclose(loaded(features), scaled, atol=1e-5)
