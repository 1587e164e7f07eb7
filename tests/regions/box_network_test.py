"""The detector's cells, boxes and file; references are written cell by cell."""

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from proposals import make_network, write_proposer

from visem_tf.errors import UserError
from visem_tf.regions.backbone import Maps, load_backbone
from visem_tf.regions.box_network import (
    STRIDES,
    BoxPredictions,
    read_network,
    select_boxes,
    write_network,
)

SIDE = 96


@pytest.fixture(scope="module")
def backbone():
    return load_backbone("efficientnet_lite0")


@pytest.fixture(scope="module")
def network():
    return make_network()


def random_maps(rng: np.random.Generator, batch: int = 2, side: int = SIDE) -> Maps:
    return Maps(
        *(
            tf.constant(
                rng.normal(size=[batch, side // stride, side // stride, channels]), "float32"
            )
            for stride, channels in zip(STRIDES, (4, 5, 6), strict=False)
        )
    )


def cells_of(side: int) -> list[tuple[int, float, float]]:
    """Level and centre in pixels of every cell, in the order of the predictions."""
    return [
        (level, (row + 0.5) * stride, (column + 0.5) * stride)
        for level, stride in enumerate(STRIDES)
        for row in range(-(-side // stride))
        for column in range(-(-side // stride))
    ]


def test_centres_are_in_the_middle_of_the_cells(network):
    maps = random_maps(np.random.default_rng(0))
    expected = [[y / SIDE, x / SIDE] for _, y, x in cells_of(SIDE)]
    np.testing.assert_allclose(network.centres(maps), expected, rtol=1e-6)


def test_boxes_are_distances_from_the_centre_in_strides(network):
    """With a kernel of zeros, the bias alone sets the distances, scaled for each level."""
    network = make_network()
    kernel, _ = network.sides.get_weights()
    bias = np.array([0.1, 0.2, 0.3, 0.4], np.float32)  # up, left, down, right
    network.sides.set_weights([np.zeros_like(kernel), bias])
    boxes = network(random_maps(np.random.default_rng(0))).boxes.numpy()
    scales = network.level_scales.numpy()
    expected = []
    for level, y, x in cells_of(SIDE):
        up, left, down, right = 4.0 * STRIDES[level] * np.exp(scales[level] * bias)
        expected.append(np.array([y - up, x - left, y + down, x + right]) / SIDE)
    for row in boxes:
        np.testing.assert_allclose(row, expected, rtol=1e-5)


def test_untrained_cells_expect_hardly_any_box():
    from visem_tf.regions.box_network import BoxNetwork

    logits = BoxNetwork((4, 5, 6), 8)(random_maps(np.random.default_rng(0))).logits
    np.testing.assert_allclose(tf.sigmoid(logits), 0.01, atol=0.002)


def test_fine_cells_see_the_coarse_maps(network):
    """A change of the last map changes the predictions of all levels, near it most."""
    maps = random_maps(np.random.default_rng(1), batch=1)
    changed = maps._replace(last=maps.last + tf.one_hot([0, 9, 9], 3)[None, :, :, None])
    difference = np.abs(network(maps).logits - network(changed).logits)[0]
    levels = np.array([level for level, _, _ in cells_of(SIDE)])
    for level in range(4):
        assert difference[levels == level].max() > 1e-3
    finest = difference[levels == 0].reshape(12, 12)
    assert finest[:4, :4].max() > finest[-4:, -4:].max()


def test_a_picture_alone_and_in_a_batch(network):
    maps = random_maps(np.random.default_rng(2), batch=3)
    together = network(maps)
    alone = network(Maps(*(each[1:2] for each in maps)))
    np.testing.assert_allclose(together.logits[1], alone.logits[0], atol=1e-5)
    np.testing.assert_allclose(together.boxes[1], alone.boxes[0], rtol=1e-5, atol=1e-5)


def predictions_of(boxes: list, scores: list) -> BoxPredictions:
    logits = np.log(np.array(scores) / (1 - np.array(scores)))
    return BoxPredictions(
        tf.constant(logits[None], tf.float32), tf.constant(np.array(boxes)[None], tf.float32)
    )


def test_selection_clips_boxes_to_the_image():
    predictions = predictions_of([[-0.5, 0, 0.5, 0.6], [0.5, 0.5, 1, 1.5]], [0.6, 0.9])
    boxes, scores, mask = select_boxes(predictions, 3)
    np.testing.assert_array_equal(mask[0], [True, True, False])
    np.testing.assert_allclose(scores[0], [0.9, 0.6, 0.0], atol=1e-6)
    np.testing.assert_allclose(boxes[0], [[0.5, 0.5, 1, 1], [0, 0, 0.5, 0.6], [0] * 4], atol=1e-6)


def test_as_many_boxes_as_wanted_are_selected():
    """More than the candidates of a usual selection, from cells that do not overlap."""
    starts = [[row / 20, column / 20] for row in range(20) for column in range(20)]
    boxes = [[y, x, y + 0.04, x + 0.04] for y, x in starts]
    scores = np.linspace(0.9, 0.1, len(boxes))
    select = tf.function(lambda *predictions: select_boxes(BoxPredictions(*predictions), 399))
    assert select(*predictions_of(boxes, scores.tolist()))[2].numpy().all()


@pytest.fixture(scope="module")
def proposer_file(tmp_path_factory) -> Path:
    """A file of a network for the maps of efficientnet_lite0."""
    return write_proposer(tmp_path_factory.mktemp("proposer") / "proposer.npz")


def test_the_file_keeps_the_weights_in_16_bits(backbone, proposer_file):
    written = make_network(8, backbone.map_channels)
    read = read_network(proposer_file, backbone)
    assert read.channels == 8 and len(read.variables) == len(written.variables)
    for one, other in zip(written.variables, read.variables, strict=True):
        np.testing.assert_array_equal(np.float16(one.numpy()), other.numpy())
    with np.load(proposer_file, allow_pickle=False) as arrays:
        about = json.loads(str(arrays["metadata"]))
        kinds = {arrays[name].dtype for name in arrays.files if name.isdigit()}
    assert kinds == {np.dtype("float16")} and about["backbone"] == "efficientnet_lite0"


def test_what_the_file_says_of_the_training(network, tmp_path):
    write_network(network, tmp_path / "p.npz", "efficientnet_lite0", dataset="scenes")
    with np.load(tmp_path / "p.npz", allow_pickle=False) as arrays:
        assert json.loads(str(arrays["metadata"]))["dataset"] == "scenes"


def changed_metadata(path: Path, **changes) -> None:
    with np.load(path, allow_pickle=False) as arrays:
        content = dict(arrays)
    metadata = {**json.loads(str(content.pop("metadata"))), **changes}
    np.savez(path, metadata=json.dumps(metadata), **content)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "was written by another version of visem_tf; train it again"),
        (
            {"backbone": "efficientnet_lite2"},
            "was trained on the maps of efficientnet_lite2, and the proposer reads those of "
            "efficientnet_lite0; choose regions.proposer_backbone efficientnet_lite2, or train",
        ),
        ({"weights": "0" * 64}, "was trained on other weights of efficientnet_lite0 than those"),
        ({"channels": 16}, "is not a trained proposer (its shapes differ); give another file"),
    ],
)
def test_the_file_of_another_network_is_refused(
    changes, message, backbone, proposer_file, tmp_path
):
    path = Path(shutil.copy(proposer_file, tmp_path))
    changed_metadata(path, **changes)
    with pytest.raises(UserError) as raised:
        read_network(path, backbone)
    assert message in str(raised.value) and "\n" not in str(raised.value)


def archive(**arrays) -> bytes:
    content = io.BytesIO()
    np.savez(content, **arrays)
    return content.getvalue()


@pytest.mark.parametrize("kind", ["empty", "text", "half", "flipped", "another", "array"])
def test_a_damaged_file_is_refused(kind, backbone, proposer_file, tmp_path):
    whole = proposer_file.read_bytes()
    middle = len(whole) // 2
    contents = {
        "empty": b"",
        "text": b"no archive",
        "half": whole[:middle],
        "flipped": whole[:middle] + bytes(255 - byte for byte in whole[middle : middle + 999])
        + whole[middle + 999 :],
        "another": archive(kernel=np.zeros(3)),
        "array": archive(metadata=np.zeros(3)),
    }  # fmt: skip
    path = tmp_path / "damaged.npz"
    path.write_bytes(contents[kind])
    with pytest.raises(UserError, match=r"damaged\.npz is not a trained proposer .*another file"):
        read_network(path, backbone)


def test_a_missing_file_is_named(backbone, tmp_path):
    shutil.rmtree(tmp_path)
    with pytest.raises(UserError, match=r"there is no trained proposer .*none\.npz; give another"):
        read_network(tmp_path / "none.npz", backbone)
