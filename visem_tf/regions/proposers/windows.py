"""Windows of several sizes, ranked by how much of what the CNN sees ends at their borders.

The default proposer. It lives wholly in the graph, and so in a SavedModel: one pass of the CNN over
the picture gives the maps, and a matrix product for each the contrast of every window. The middle
of the network tells where things begin and end; the class scores at its end, which windows hold a
thing that the classifier knows.
"""

import itertools

import numpy as np
import tensorflow as tf

from visem_tf.config import RegionsConfig
from visem_tf.regions.backbone import Backbone
from visem_tf.regions.proposers import Proposals, kept_by_suppression
from visem_tf.regions.resample import pooling_weights

_SIDES = (0.18, 0.25, 0.35, 0.5, 0.7)
_ASPECTS = (0.5, 0.7, 1.0, 1.4, 2.0)
_STEP = 0.25
_SURROUND = 1.5


def window_grid(
    sides: tuple[float, ...] = _SIDES,
    aspects: tuple[float, ...] = _ASPECTS,
    step: float = _STEP,
) -> np.ndarray:
    """All windows: every size and shape, at evenly spaced places, inside the picture.

    Args:
      sides: Square roots of the windows' areas, as shares of the picture's side.
      aspects: Widths over heights.
      step: Distance between neighbours, as a share of the window's own side.

    Returns:
      float32 [W, 4], `rel_yxyx`.
    """
    windows: list[tuple[float, float, float, float]] = []
    for side, aspect in itertools.product(sides, aspects):
        height, width = side / aspect**0.5, side * aspect**0.5
        if max(height, width) > 1.0:
            continue
        tops, lefts = (
            np.linspace(0.0, 1.0 - extent, max(2, round((1.0 - extent) / (extent * step)) + 1))
            for extent in (height, width)
        )
        windows.extend((y, x, y + height, x + width) for y in tops for x in lefts)
    return np.asarray(windows, np.float32)


def contrast_weights(windows: np.ndarray, height: int, width: int) -> np.ndarray:
    """The contrast of every window with its surround, as weights of the cells of a map.

    Contrast is the mean inside less the mean in the ring around, times
    sqrt(n_in n_ring / (n_in + n_ring)) with the areas n: the statistic by which two samples of
    unequal size are told apart. It favours windows that hold one thing whole and alone; a mere mean
    favours the smallest window on the brightest cell.

    Args:
      windows: float32 [W, 4], `rel_yxyx`.
      height: Cells down.
      width: Cells across.

    Returns:
      float32 [W, height * width].
    """
    half = (windows[:, 2:] - windows[:, :2]) * (_SURROUND - 1.0) / 2.0
    around = np.concatenate(
        [np.maximum(windows[:, :2] - half, 0.0), np.minimum(windows[:, 2:] + half, 1.0)], axis=1
    )
    inner, outer = _area(windows), _area(around)
    ring = np.maximum(outer - inner, 1e-6)
    mean_inside = pooling_weights(tf.constant(windows), height, width).numpy()
    mean_around = pooling_weights(tf.constant(around), height, width).numpy()
    mean_ring = (mean_around * outer - mean_inside * inner) / ring
    return ((mean_inside - mean_ring) * np.sqrt(inner * ring / outer)).astype(np.float32)


def _area(boxes: np.ndarray) -> np.ndarray:
    return np.prod(boxes[:, 2:] - boxes[:, :2], axis=1, keepdims=True)


class WindowProposer:
    """Keeps the windows of largest contrast, less those that overlap better ones.

    Args:
      backbone: Its maps are compared inside and around.
      picture_size: Side of the pictures in pixels.
      num_boxes: Boxes to keep.
      nms_iou: Of two windows that overlap by more than this, the better one stays.
      edge_weight: What the contrast in the middle of the network counts, that of the class scores
        being 1.
    """

    in_graph = True

    def __init__(
        self,
        backbone: Backbone,
        picture_size: int,
        num_boxes: int,
        nms_iou: float,
        edge_weight: float,
    ) -> None:
        self.backbone = backbone
        self.edge_weight = edge_weight
        self.num_boxes = num_boxes
        self.nms_iou = nms_iou
        self.windows = window_grid()
        self.contrasts = [
            contrast_weights(self.windows, *shape) for shape in backbone.map_shapes(picture_size)
        ]

    def __call__(self, pixels: tf.Tensor) -> Proposals:
        """Proposes boxes for pictures float [B, P, P, 3] in 0..255; see `Proposer`."""
        middle, last = (_cells(each) for each in self.backbone.feature_maps(pixels))
        in_middle, in_classes = self.contrasts
        classes = tf.matmul(tf.constant(in_classes), self.backbone.logits(last))
        scores = _standardised(tf.reduce_max(classes, axis=2))  # [B, W]
        if self.edge_weight:
            edges = tf.norm(tf.matmul(tf.constant(in_middle), middle), axis=2)
            scores += self.edge_weight * _standardised(edges)
        shape = [tf.shape(pixels)[0], *self.windows.shape]
        boxes = tf.broadcast_to(tf.constant(self.windows), shape)
        return kept_by_suppression(boxes, scores, self.num_boxes, self.nms_iou)


def _cells(feature_map: tf.Tensor) -> tf.Tensor:
    """[B, H, W, C] to [B, H W, C]."""
    return tf.reshape(feature_map, [tf.shape(feature_map)[0], -1, feature_map.shape[3]])


def _standardised(scores: tf.Tensor) -> tf.Tensor:
    """Scores [B, W] with mean 0 and variance 1 over the windows of each picture."""
    mean, variance = tf.nn.moments(scores, axes=[1], keepdims=True)
    return (scores - mean) * tf.math.rsqrt(variance + 1e-6)


def build(settings: RegionsConfig, backbone: Backbone) -> WindowProposer:
    """Builds the proposer; needs nothing beyond the backbone."""
    return WindowProposer(
        backbone,
        settings.picture_size,
        settings.num_regions - 1,
        settings.nms_iou,
        settings.edge_weight,
    )
