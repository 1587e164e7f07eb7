"""Proposers of boxes, a file each.

A module of this package is a proposer: its name is the name in the configuration, and its function
`build(settings, backbone)` returns a `Proposer`. Nothing else has to be told of a new one.
"""

import importlib
from typing import NamedTuple, Protocol

import tensorflow as tf

from visem_tf.config import RegionsConfig
from visem_tf.regions.backbone import Backbone
from visem_tf.regions.suppression import suppress


class Proposals(NamedTuple):
    """Boxes of a batch of pictures, the most promising first.

    Attributes:
      boxes: float [B, R, 4], `rel_yxyx`.
      scores: float [B, R], falling; comparable only within a proposer.
      mask: bool [B, R], False where there were fewer boxes than asked for.
    """

    boxes: tf.Tensor
    scores: tf.Tensor
    mask: tf.Tensor


class Proposer(Protocol):
    """Finds the boxes of a picture that are worth a description, besides the whole frame."""

    in_graph: bool
    """Whether it consists of TensorFlow operations alone and so can be exported."""

    def __call__(self, pixels: tf.Tensor) -> Proposals:
        """Proposes `num_regions` - 1 boxes for each of the pictures float [B, P, P, 3], 0..255."""


def build_proposer(settings: RegionsConfig, backbone: Backbone) -> Proposer:
    """Builds the proposer that the configuration names.

    Raises:
      UserError: A package or file that it needs is missing.
    """
    module = importlib.import_module(f"{__name__}.{settings.proposer}")
    proposer: Proposer = module.build(settings, backbone)
    return proposer


def kept_by_suppression(
    boxes: tf.Tensor, scores: tf.Tensor, num_boxes: int, nms_iou: float
) -> Proposals:
    """Keeps the best boxes that do not overlap too much.

    Args:
      boxes: float [B, W, 4], `rel_yxyx`.
      scores: float [B, W].
      num_boxes: Boxes to keep.
      nms_iou: Of two boxes that overlap by more than this, the better one stays.
    """
    kept_boxes, kept_scores, mask = suppress(boxes, scores, num_boxes, nms_iou)
    lowest = tf.reduce_min(scores, axis=1, keepdims=True) - 1.0
    return Proposals(kept_boxes, tf.where(mask, kept_scores, lowest), mask)
