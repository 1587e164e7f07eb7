"""Proposers: valid boxes, on objects, the same whatever else is in the batch."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from proposals import write_proposer

import visem_tf
from visem_tf.config import RegionsConfig
from visem_tf.config.registry import PROPOSERS
from visem_tf.errors import UserError
from visem_tf.regions.backbone import load_backbone
from visem_tf.regions.box_network import read_network, select_boxes
from visem_tf.regions.proposers import build_proposer
from visem_tf.regions.proposers.grid import fixed_boxes
from visem_tf.regions.proposers.trained import weights_file
from visem_tf.regions.proposers.windows import contrast_weights, window_grid

pytestmark = pytest.mark.usefixtures("quick")

SIZE = 256
WITHOUT_DOWNLOAD = [
    "windows",
    "grid",
    pytest.param(
        "selective_search",
        marks=pytest.mark.skipif(
            importlib.util.find_spec("cv2") is None, reason="the extra is not installed"
        ),
    ),
]


@pytest.fixture(scope="module")
def backbone():
    return load_backbone("efficientnet_lite0")


@pytest.fixture(scope="module")
def images():
    """A bright disc on a plain ground, top left in one picture and bottom right in the other."""
    y, x = np.mgrid[0:SIZE, 0:SIZE]
    pixels = np.full([2, SIZE, SIZE, 3], (90, 110, 90), np.float32)
    for image, centre in zip(pixels, (80, 176), strict=True):
        disc = (y - centre) ** 2 + (x - centre) ** 2 < 45**2
        image[disc] = (240, 160, 20)
        image[disc & ((x + y) % 16 < 5)] = (20, 20, 20)
    return tf.constant(pixels)


def settings(name, num_regions=11):
    return RegionsConfig(proposer=name, num_regions=num_regions, picture_size=SIZE)


@pytest.mark.parametrize("name", WITHOUT_DOWNLOAD)
def test_boxes_are_valid_distinct_and_ranked(name, backbone, images):
    boxes, scores, mask = build_proposer(settings(name), backbone)(images)
    assert boxes.shape == (2, 10, 4) and mask.dtype == tf.bool
    for row in range(2):
        real = boxes.numpy()[row][mask.numpy()[row]]
        assert len(real) and (real >= 0).all() and (real <= 1).all()
        assert (real[:, 2:] > real[:, :2]).all()
        assert len(np.unique(real.round(5), axis=0)) == len(real)
        assert (np.diff(scores.numpy()[row][mask.numpy()[row]]) <= 1e-6).all()


@pytest.mark.parametrize("name", WITHOUT_DOWNLOAD)
def test_a_picture_gets_the_same_boxes_alone_and_in_a_batch(name, backbone, images):
    proposer = build_proposer(settings(name), backbone)
    together = proposer(images).boxes.numpy()
    alone = [proposer(images[row : row + 1]).boxes.numpy()[0] for row in range(2)]
    np.testing.assert_allclose(together, alone, atol=1e-6)


@pytest.mark.parametrize("name", [n for n in WITHOUT_DOWNLOAD if n != "grid"])
def test_finds_the_object(name, backbone, images):
    boxes = build_proposer(settings(name), backbone)(images).boxes.numpy()
    for row, centre in enumerate((80, 176)):
        true = (np.array([centre - 45, centre - 45, centre + 45, centre + 45])) / SIZE
        assert max(iou(box, true) for box in boxes[row]) > 0.5


def iou(a, b):
    overlap = np.prod(np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0))
    return overlap / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - overlap)


def test_contrast_is_zero_on_a_uniform_map_and_largest_for_the_fitting_window():
    windows = np.array([[0.25, 0.25, 0.75, 0.75], [0.0, 0.0, 0.5, 0.5], [0.4, 0.4, 0.6, 0.6]], "f4")
    weights = contrast_weights(windows, 16, 16)
    np.testing.assert_allclose(weights.sum(axis=1), 0, atol=1e-5)
    cells = np.zeros((16, 16), np.float32)
    cells[4:12, 4:12] = 1
    assert (weights @ cells.ravel()).argmax() == 0


def test_window_grid_stays_inside_and_covers_every_place():
    windows = window_grid()
    assert windows.min() >= 0 and windows.max() <= 1 + 1e-6
    for point in np.random.default_rng(0).random((50, 2)):
        assert ((windows[:, :2] <= point) & (windows[:, 2:] >= point)).all(axis=1).any()


def test_grid_has_as_many_boxes_as_wanted():
    for count in (0, 1, 4, 19, 50):
        boxes = fixed_boxes(count)
        assert boxes.shape == (count, 4) and len(np.unique(boxes, axis=0)) == count


def test_the_trained_proposer_selects_the_boxes_of_its_network(backbone, images, tmp_path):
    path = write_proposer(tmp_path / "proposer.npz")
    regions = settings("trained").updated({"nms_iou": 0.6})
    boxes, scores, mask = build_proposer(regions, backbone, path)(images)
    assert mask.numpy().all()
    predictions = read_network(path, backbone)(backbone.maps(images))
    expected = select_boxes(predictions, 10)
    np.testing.assert_allclose(boxes, expected[0], atol=1e-5)
    np.testing.assert_allclose(scores, expected[1], atol=1e-5)
    assert (scores.numpy() > 0).all() and (scores.numpy() < 1).all()


def test_which_file_of_weights_is_read(tmp_path):
    own, other = tmp_path / "own.npz", tmp_path / "other.npz"
    given = settings("trained").updated({"proposer_file": str(other)})
    assert weights_file(given, own) == weights_file(given) == other
    assert weights_file(settings("trained"), own) == own
    packaged = weights_file(settings("trained"))
    assert packaged == Path(visem_tf.__file__).parent / "pretrained" / "flickr8k" / "proposer.npz"


@pytest.mark.skipif(not weights_file(settings("trained")).is_file(), reason="it is not installed")
def test_the_proposer_in_the_package_finds_the_object(backbone, images):
    boxes, _, mask = build_proposer(settings("trained"), backbone)(images)
    assert mask.numpy().all()
    for row, centre in enumerate((80, 176)):
        true = (np.array([centre - 45, centre - 45, centre + 45, centre + 45])) / SIZE
        assert max(iou(box, true) for box in boxes.numpy()[row]) > 0.5


def test_none_proposes_nothing(backbone, images):
    assert build_proposer(settings("none"), backbone)(images).boxes.shape == (2, 0, 4)


def test_unknown_name_is_told_with_the_nearest_before_any_work():
    with pytest.raises(UserError, match="did you mean windows"):
        settings("window")
    assert {"windows", "selective_search", "retinanet", "grid", "none"} <= set(PROPOSERS)
