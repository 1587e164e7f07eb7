"""Windows of several sizes, ranked by the contrast of CNN features with their surroundings.

It needs no training. It runs in graph, and so in a SavedModel: one pass of the CNN over the image
gives two maps, and a matrix product with each of them gives the contrast of every window. The map
in the middle of the network shows the borders of objects; the class scores at its end show which
windows contain an object that the classifier knows.
"""

import itertools
from pathlib import Path

import numpy as np
import tensorflow as tf

from visem_tf.config import RegionsConfig
from visem_tf.regions.backbone import Backbone
from visem_tf.regions.proposers import Proposals
from visem_tf.regions.resample import pooling_weights
from visem_tf.regions.suppression import suppress

_SIDES = (0.18, 0.25, 0.35, 0.5, 0.7)  # square roots of areas, relative to the image's side
_ASPECTS = (0.5, 0.7, 1.0, 1.4, 2.0)  # widths over heights
_STEP = 0.25  # distance between neighbours, relative to the window's side
_SURROUND = 1.5  # side of the window with its surroundings, relative to the window's side


def window_grid() -> np.ndarray:
    """Returns windows of every size and shape at evenly spaced positions inside the image.

    Returns:
        float32 array [W, 4], `rel_yxyx`.
    """
    windows: list[tuple[float, float, float, float]] = []
    for side, aspect in itertools.product(_SIDES, _ASPECTS):
        height, width = side / aspect**0.5, side * aspect**0.5
        if max(height, width) > 1.0:
            continue
        tops, lefts = (
            np.linspace(0.0, 1.0 - extent, max(2, round((1.0 - extent) / (extent * _STEP)) + 1))
            for extent in (height, width)
        )
        windows.extend((y, x, y + height, x + width) for y in tops for x in lefts)
    return np.asarray(windows, np.float32)


def contrast_weights(windows: np.ndarray, height: int, width: int) -> np.ndarray:
    """Returns the contrast of every window with its surroundings, as weights of the cells of a map.

    The contrast is the mean inside minus the mean in the ring around, times
    sqrt(n_in n_ring / (n_in + n_ring)) with the areas n: the statistic that compares the means of
    two samples of unequal size. It favours windows with one whole object alone; a mere mean favours
    the smallest window on the brightest cell.

    Args:
        windows: float32 array [W, 4], `rel_yxyx`.
        height: Number of rows of cells.
        width: Number of columns of cells.

    Returns:
        float32 array [W, height * width].
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
    """Keeps the windows of highest contrast that do not overlap too much.

    Args:
        settings: Section `regions` of the configuration: how many boxes there are, how much they
            may overlap, and how much the contrast in the middle of the network counts beside that
            of the class scores.
        backbone: CNN that computes the maps.
    """

    in_graph = True

    def __init__(self, settings: RegionsConfig, backbone: Backbone) -> None:
        self.settings = settings
        self.backbone = backbone
        self.windows = window_grid()
        self.contrasts = [
            contrast_weights(self.windows, *shape)
            for shape in backbone.map_shapes(settings.picture_size)[1:]
        ]

    def __call__(self, pixels: tf.Tensor) -> Proposals:
        """Proposes boxes for images float [B, P, P, 3] in 0..255; see `Proposer`."""
        maps = self.backbone.maps(pixels)
        middle, last = _cells(maps.middle), _cells(maps.last)
        in_middle, in_classes = self.contrasts
        classes = tf.matmul(tf.constant(in_classes), self.backbone.logits(last))
        scores = _standardized(tf.reduce_max(classes, axis=2))  # [B, W]
        if self.settings.edge_weight:
            edges = tf.norm(tf.matmul(tf.constant(in_middle), middle), axis=2)
            scores += self.settings.edge_weight * _standardized(edges)
        shape = [tf.shape(pixels)[0], *self.windows.shape]
        boxes = tf.broadcast_to(tf.constant(self.windows), shape)
        num_boxes = self.settings.num_regions - 1
        return Proposals(*suppress(boxes, scores, num_boxes, self.settings.nms_iou))


def _cells(feature_map: tf.Tensor) -> tf.Tensor:
    """Reshapes [B, H, W, C] to [B, H W, C]."""
    return tf.reshape(feature_map, [tf.shape(feature_map)[0], -1, feature_map.shape[3]])


def _standardized(scores: tf.Tensor) -> tf.Tensor:
    """Scores [B, W] with mean 0 and variance 1 over the windows of each image."""
    mean, variance = tf.nn.moments(scores, axes=[1], keepdims=True)
    return (scores - mean) * tf.math.rsqrt(variance + 1e-6)


def build(
    settings: RegionsConfig, backbone: Backbone, weights: Path | None = None
) -> WindowProposer:
    """Builds the proposer."""
    return WindowProposer(settings, backbone)
