"""Training of the proposer's network on boxes without words.

Cells are assigned to boxes by how well they already predict them (TOOD, Feng et al., ICCV 2021);
the score of an assigned cell learns the IoU that its box reaches, with the varifocal loss (Zhang
et al., CVPR 2021), and its box is trained by the complete IoU (Zheng et al., AAAI 2020). The
CNN below stays frozen.
"""

from typing import Any, NamedTuple

import keras
import keras_cv
import tensorflow as tf

from visem_tf.models.global_batch import (
    GlobalBatchModel,
    all_reduce_sum,
    apply_global_gradients,
    at_least_one,
)
from visem_tf.regions.backbone import Maps
from visem_tf.regions.box_network import BoxNetwork, BoxPredictions

_FORMAT = "yxyx"
_CELLS_PER_BOX = 10
_IOU_POWER = 6.0  # of the IoU beside the score in the fit of a cell, as in TOOD
_BOX_WEIGHT = 2.0
_NEGATIVE_WEIGHT, _FOCUS = 0.75, 2.0  # of the varifocal loss


class Assignment(NamedTuple):
    """Targets of the cells of a batch.

    Attributes:
        targets: float [B, A], the IoU that the score learns; 0 for cells without a box.
        boxes: float [B, A, 4], the box of each cell; any box where the target is 0.
    """

    targets: tf.Tensor
    boxes: tf.Tensor


def assign_boxes(
    predictions: BoxPredictions, centres: tf.Tensor, boxes: tf.Tensor, box_mask: tf.Tensor
) -> Assignment:
    """Assigns to each box the cells inside of it that predict it best.

    The fit of a cell to a box is score * IoU ** 6. A box claims the ten cells that fit it best, of
    those with their centres inside of it; a cell that several boxes claim belongs to the one of
    highest IoU. The targets of the cells of a box are their fits, scaled so that the largest target
    is the largest IoU of these cells.

    Args:
        predictions: Predictions for B images, without gradients.
        centres: Centres of the cells, float [A, 2], (y, x) relative to the image.
        boxes: True boxes, float [B, G, 4], `rel_yxyx`.
        box_mask: Boolean tensor [B, G], False for padding.
    """
    iou = keras_cv.bounding_box.compute_iou(boxes, predictions.boxes, _FORMAT)  # [B, G, A]
    inside = tf.reduce_all(
        (centres > boxes[:, :, tf.newaxis, :2]) & (centres < boxes[:, :, tf.newaxis, 2:]), axis=3
    )
    scores = tf.sigmoid(predictions.logits)[:, tf.newaxis]
    fits = tf.where(inside & box_mask[..., tf.newaxis], scores * iou**_IOU_POWER, 0.0)
    worst_kept = tf.math.top_k(fits, _CELLS_PER_BOX).values[..., -1:]
    fits = tf.where((fits >= worst_kept) & (fits > 0.0), fits, 0.0)
    claimed_iou = tf.where(fits > 0.0, iou, 0.0)
    owner = tf.argmax(claimed_iou, axis=1, output_type=tf.int32)  # [B, A]
    is_owner = tf.one_hot(owner, tf.shape(boxes)[1], axis=1)  # [B, G, A]
    fits *= is_owner
    scale = tf.math.divide_no_nan(
        tf.reduce_max(claimed_iou * is_owner, axis=2, keepdims=True),
        tf.reduce_max(fits, axis=2, keepdims=True),
    )
    return Assignment(
        tf.reduce_sum(fits * scale, axis=1), tf.gather(boxes, owner, axis=1, batch_dims=1)
    )


def proposal_loss(predictions: BoxPredictions, assignment: Assignment) -> tf.Tensor:
    """Computes the sum of the losses of all cells of a batch, before it is normalised.

    The loss of a score p with the target q is the cross-entropy of p and q, times q for cells with
    a box and times 0.75 p ** 2 for others. The box of a cell adds 2 q (1 - complete IoU). No
    gradient flows through these factors.

    Args:
        predictions: Predictions for B images.
        assignment: What their cells learn.
    """
    logits, targets = predictions.logits, assignment.targets
    scores = tf.stop_gradient(tf.sigmoid(logits))
    weights = tf.where(targets > 0.0, targets, _NEGATIVE_WEIGHT * scores**_FOCUS)
    entropy = tf.nn.sigmoid_cross_entropy_with_logits(labels=targets, logits=logits)
    ciou_loss = keras_cv.losses.CIoULoss(_FORMAT, reduction="none")
    is_assigned = tf.where(targets > 0.0)
    box_losses = ciou_loss(
        tf.gather_nd(assignment.boxes, is_assigned), tf.gather_nd(predictions.boxes, is_assigned)
    )
    box_weights = _BOX_WEIGHT * tf.gather_nd(targets, is_assigned)
    return tf.reduce_sum(weights * entropy) + tf.reduce_sum(box_weights * box_losses)


class ProposalTraining(GlobalBatchModel):
    """Trains a proposer's network on the maps of a frozen CNN.

    `fit` takes dictionaries with the fields of `Maps`, `boxes`, float [B, G, 4], `rel_yxyx`, and
    `box_mask`, bool [B, G], False for padding.

    Args:
        network: Network to train.
        clip_value: Each element of the gradients is clipped to plus or minus this.
    """

    def __init__(self, network: BoxNetwork, clip_value: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.network = network
        self.clip_value = clip_value
        self.loss_metric = keras.metrics.Mean(name="loss")
        self.built = True

    def train_step(self, data: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Takes one step; see the class. The loss is normalised by the sum of the targets."""
        data, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        maps = Maps(*(at_least_one(data[name]) for name in Maps._fields))
        boxes, box_mask = (at_least_one(data[name], axes=2) for name in ("boxes", "box_mask"))
        with tf.GradientTape() as tape:
            predictions = self.network(maps)
            assignment = assign_boxes(
                BoxPredictions(*map(tf.stop_gradient, predictions)),
                self.network.centres(maps),
                boxes,
                box_mask,
            )
            total = tf.maximum(all_reduce_sum(tf.reduce_sum(assignment.targets)), 1.0)
            loss = proposal_loss(predictions, assignment) / total
            share = tf.where(tf.shape(data["boxes"])[0] > 0, loss, 0.0)
        apply_global_gradients(self, tape, share, self.clip_value, examples=data["boxes"])
        self.loss_metric.update_state(all_reduce_sum(share))
        return self.get_metrics_result()

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """The running mean of the loss."""
        return [self.loss_metric]
