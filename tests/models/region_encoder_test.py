import keras
import numpy as np
import pytest
import tensorflow as tf

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
