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


def with_context(seed=0, **options):
    """An encoder of 5 features with a random W_c."""
    encoder = RegionEncoder(4, region_context="frame", **options)
    encoder.build((None, None, 5))
    kernel = encoder.context_projection.kernel
    kernel.assign(np.random.default_rng(seed).normal(size=kernel.shape))
    return encoder


@pytest.mark.parametrize("feature_scale", [0.0, 10.0])
def test_context_adds_a_map_of_what_exceeds_the_whole_image(feature_scale):
    encoder = with_context(feature_scale=feature_scale)
    features = np.random.default_rng(1).normal(size=(2, 3, 5)).astype(np.float32)
    scaled = features
    if feature_scale:
        scaled = 10 * features / np.linalg.norm(features, axis=-1, keepdims=True)
    surplus = np.maximum(scaled - scaled[:, :1], 0)
    expected = (
        scaled @ encoder.projection.kernel.numpy()
        + surplus @ encoder.context_projection.kernel.numpy()
    )
    np.testing.assert_allclose(encoder(features), expected, atol=1e-4)
    assert np.abs(surplus[:, 1:]).max() > 0
    # The whole image, and a region without its image, have no context.
    plain = scaled @ encoder.projection.kernel.numpy()
    np.testing.assert_allclose(encoder(features)[:, 0], plain[:, 0], atol=1e-4)
    np.testing.assert_allclose(encoder(features[:, 1]), plain[:, 1], atol=1e-4)


def test_an_untrained_encoder_is_the_same_with_context():
    features = np.random.default_rng(1).normal(size=(2, 3, 5)).astype(np.float32)
    embeddings = []
    for region_context in ("none", "frame"):
        keras.utils.set_random_seed(0)
        encoder = RegionEncoder(4, dropout=0.3, region_context=region_context)
        embeddings.append(encoder(features))
    np.testing.assert_array_equal(*embeddings)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(encoder(features)))
    gradient = tape.gradient(loss, encoder.context_projection.kernel.value)
    assert np.abs(gradient).max() > 0


def test_context_has_dropout_and_is_saved(tmp_path):
    encoder = with_context(dropout=0.5)
    encoder.projection.kernel.assign(tf.zeros([5, 4]))
    features = tf.concat([tf.zeros([1, 1, 5]), tf.ones([1, 300, 5])], axis=1)
    dropped = encoder(features, training=True)
    assert len(np.unique(np.round(dropped[0, :, 0], 4))) > 10
    inputs = keras.Input([None, 5])
    model = keras.Model(inputs, encoder(inputs))
    model.save(tmp_path / "encoder.keras")
    loaded = keras.models.load_model(tmp_path / "encoder.keras")
    np.testing.assert_array_equal(model(features), loaded(features))
    assert loaded.layers[1].region_context == "frame"


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


@pytest.mark.parametrize(
    ("name", "value"), [("embedding_dim", 0), ("dropout", 1.0), ("region_context", "sky")]
)
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
