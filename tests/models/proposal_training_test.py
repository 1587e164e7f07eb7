"""Assignment of cells to boxes, the losses, and training on two devices as on one."""

import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from proposals import make_network

from visem_tf.models.proposal_training import (
    Assignment,
    ProposalTraining,
    assign_boxes,
    proposal_loss,
)
from visem_tf.regions.box_network import BoxPredictions


def random_boxes(rng: np.random.Generator, *shape: int) -> np.ndarray:
    corners = np.sort(rng.random([*shape, 2, 2]), axis=-2)
    return corners.reshape([*shape, 4]).astype(np.float32)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    sides = np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0)
    shared = sides.prod()
    return shared / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - shared)


def complete_iou(a: np.ndarray, b: np.ndarray) -> float:
    """The IoU, less a distance of the centres and a difference of the aspects."""
    centres = ((a[:2] + a[2:]) - (b[:2] + b[2:])) / 2
    diagonal = np.maximum(a[2:], b[2:]) - np.minimum(a[:2], b[:2])
    aspects = [np.arctan((box[3] - box[1]) / (box[2] - box[0])) for box in (a, b)]
    v = (4 / np.pi**2 * (aspects[0] - aspects[1])) ** 2  # KerasCV squares the factor too
    overlap = iou(a, b)
    return overlap - (centres @ centres) / (diagonal @ diagonal) - v**2 / (1 - overlap + v)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def reference_assignment(logits, predicted, centres, boxes, mask):
    """The docstring of `assign_boxes`, cell by cell, for one image."""
    cells = range(len(logits))
    fits, claims = {}, {}
    for g in np.flatnonzero(mask):
        for a in cells:
            y, x = centres[a]
            if boxes[g][0] < y < boxes[g][2] and boxes[g][1] < x < boxes[g][3]:
                fits[g, a] = sigmoid(logits[a]) * iou(boxes[g], predicted[a]) ** 6
        best = sorted((a for a in cells if fits.get((g, a), 0) > 0), key=lambda a: -fits[g, a])
        for a in best[:10]:
            claims.setdefault(a, []).append(g)
    owner = {a: max(gs, key=lambda g: iou(boxes[g], predicted[a])) for a, gs in claims.items()}
    targets, of_cells = np.zeros(len(logits)), {}
    for g in np.flatnonzero(mask):
        own = [a for a, other in owner.items() if other == g]
        for a in own:
            best_iou = max(iou(boxes[g], predicted[b]) for b in own)
            targets[a] = fits[g, a] / max(fits[g, b] for b in own) * best_iou
            of_cells[a] = boxes[g]
    return targets, of_cells


def test_assignment_is_that_of_the_definition():
    rng = np.random.default_rng(1)
    side = 8
    places = (np.arange(side) + 0.5) / side
    centres = np.stack(np.meshgrid(places, places, indexing="ij"), axis=2).reshape(-1, 2)
    cells = side**2
    sides = rng.uniform(0.05, 0.4, [2, cells, 4])
    predicted = np.concatenate([centres - sides[..., :2], centres + sides[..., 2:]], axis=2)
    logits = rng.normal(size=[2, cells])
    boxes = np.array(
        [
            [[0.1, 0.1, 0.7, 0.6], [0.2, 0.2, 0.9, 0.9], [0.15, 0.12, 0.72, 0.6]],
            [[0.3, 0.05, 0.55, 0.95], [0.01, 0.01, 0.02, 0.02], [0, 0, 0, 0]],
        ]
    )  # overlapping ones; one that holds no centre
    mask = np.array([[True, True, True], [True, True, False]])
    found = assign_boxes(
        BoxPredictions(tf.constant(logits, tf.float32), tf.constant(predicted, tf.float32)),
        tf.constant(centres, tf.float32),
        tf.constant(boxes, tf.float32),
        tf.constant(mask),
    )
    for i in range(2):
        targets, of_cells = reference_assignment(
            logits[i], predicted[i], centres, boxes[i], mask[i]
        )
        assert (targets > 0).sum() > 8 and len(of_cells) == (targets > 0).sum()
        np.testing.assert_allclose(found.targets[i], targets, rtol=2e-3, atol=1e-6)
        for a, box in of_cells.items():
            np.testing.assert_allclose(found.boxes[i, a], box, atol=1e-6)


def test_padding_boxes_change_nothing():
    rng = np.random.default_rng(2)
    predictions = BoxPredictions(
        tf.constant(rng.normal(size=[1, 30]), tf.float32), tf.constant(random_boxes(rng, 1, 30))
    )
    centres = tf.constant(rng.random([30, 2]), tf.float32)
    boxes = random_boxes(rng, 1, 3)
    plain = assign_boxes(predictions, centres, boxes, tf.constant([[True] * 3]))
    padded = np.concatenate([boxes, [[[0, 0, 1, 1]] * 2]], axis=1).astype(np.float32)
    mask = tf.constant([[True] * 3 + [False] * 2])
    np.testing.assert_allclose(
        assign_boxes(predictions, centres, padded, mask).targets, plain.targets, atol=1e-6
    )
    assert plain.targets.numpy().any()


def test_the_loss_is_varifocal_and_complete_iou():
    rng = np.random.default_rng(3)
    logits, predicted = rng.normal(size=[2, 12]), random_boxes(rng, 2, 12)
    targets = np.where(rng.random([2, 12]) < 0.4, rng.random([2, 12]), 0.0)
    boxes = random_boxes(rng, 2, 12)
    expected = 0.0
    for i in range(2):
        for a in range(12):
            p, q = sigmoid(logits[i, a]), targets[i, a]
            entropy = -(q * np.log(p) + (1 - q) * np.log(1 - p))
            if q > 0:
                expected += q * entropy + 2.0 * q * (1 - complete_iou(boxes[i, a], predicted[i, a]))
            else:
                expected += 0.75 * p**2 * entropy
    found = proposal_loss(
        BoxPredictions(tf.constant(logits, tf.float32), tf.constant(predicted)),
        Assignment(tf.constant(targets, tf.float32), tf.constant(boxes)),
    )
    np.testing.assert_allclose(found, expected, rtol=1e-3)


def batch(rng: np.random.Generator, size: int) -> dict[str, np.ndarray]:
    mask = rng.random([size, 3]) < 0.8
    return {
        **{
            name: rng.normal(size=[size, side, side, channels]).astype(np.float32)
            for name, side, channels in (("fine", 8, 4), ("middle", 4, 5), ("last", 2, 6))
        },
        "boxes": random_boxes(rng, size, 3),
        "box_mask": mask,
    }


def test_it_learns_where_the_boxes_are():
    rng = np.random.default_rng(0)
    data = {name: tf.constant(value) for name, value in batch(rng, 4).items()}
    model = ProposalTraining(make_network(), clip_value=5.0)
    model.compile(optimizer=keras.optimizers.Adam(0.03))
    losses = []
    for _ in range(6):
        model.reset_metrics()
        losses.append(float(model.train_step(data)["loss"]))
    assert losses[-1] < 0.1 * losses[0]


def test_images_without_boxes_are_only_negatives():
    data = {name: tf.constant(value) for name, value in batch(np.random.default_rng(0), 2).items()}
    data["box_mask"] = tf.zeros_like(data["box_mask"])
    model = ProposalTraining(make_network(), clip_value=5.0)
    model.compile(optimizer=keras.optimizers.SGD(0.01))
    before = model.network.sides.kernel.numpy()
    assert float(model.train_step(data)["loss"]) > 0
    np.testing.assert_array_equal(model.network.sides.kernel, before)


def test_a_share_without_images_counts_nothing():
    model = ProposalTraining(make_network(), clip_value=0.05)
    model.compile(optimizer=keras.optimizers.SGD(0.1))
    data = {name: tf.constant(value) for name, value in batch(np.random.default_rng(0), 0).items()}
    before = model.network.sides.kernel.numpy()
    for boxes in (data["boxes"], data["boxes"][:, :0]):
        share = {**data, "boxes": boxes, "box_mask": data["box_mask"][:, : boxes.shape[1]]}
        assert float(model.train_step(share)["loss"]) == 0
    np.testing.assert_array_equal(model.network.sides.kernel, before)


REPLICAS = """
import sys
import keras, numpy as np
sys.path[:0] = FOLDERS
from proposal_training_test import batch, make_network
from visem_tf.models.proposal_training import ProposalTraining

data = batch(np.random.default_rng(0), 7)  # the last batch leaves a replica with nothing to do

def train(strategy):
    with strategy.scope():
        model = ProposalTraining(make_network(), clip_value=0.05)
        model.compile(
            optimizer=keras.optimizers.SGD(0.1), run_eagerly=strategy.num_replicas_in_sync == 1
        )
    dataset = tf.data.Dataset.from_tensor_slices(data).batch(3)
    losses = model.fit(dataset, epochs=2, verbose=0).history["loss"]
    return losses, [w.numpy() for w in model.trainable_variables]

one_losses, one = train(tf.distribute.get_strategy())
two_losses, two = train(strategy)
np.testing.assert_allclose(one_losses, two_losses, rtol=1e-4)
for a, b in zip(one, two):
    np.testing.assert_allclose(a, b, atol=1e-5)
print("same")
"""


@pytest.mark.slow
def test_two_replicas_train_as_one(run_on_two_devices):
    folders = [path for path in sys.path if path.endswith(("tests/support", "tests/models"))]
    folders += [__file__.rpartition("/")[0]]
    assert "same" in run_on_two_devices(f"FOLDERS = {folders}\n{REPLICAS}")
