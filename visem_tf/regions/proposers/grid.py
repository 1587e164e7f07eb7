"""The same boxes in every image: overlapping windows of a few sizes.

It is the baseline that shows what a proposer gains by using the pixels.
"""

from pathlib import Path

import numpy as np
import tensorflow as tf

from visem_tf.config import RegionsConfig
from visem_tf.regions.backbone import Backbone
from visem_tf.regions.proposers import Proposals


def fixed_boxes(num_boxes: int) -> np.ndarray:
    """Returns k x k windows that overlap by half, for k = 2, 3, 4, … until there are enough.

    Args:
        num_boxes: Number of boxes.

    Returns:
        float32 array [num_boxes, 4], `rel_yxyx`; large windows first.
    """
    boxes: list[tuple[float, float, float, float]] = []
    cuts = 2
    while len(boxes) < num_boxes:
        side = 2.0 / (cuts + 1)
        starts = np.linspace(0.0, 1.0 - side, cuts)
        boxes.extend((y, x, y + side, x + side) for y in starts for x in starts)
        cuts += 1
    return np.asarray(boxes[:num_boxes], np.float32).reshape(-1, 4)


class GridProposer:
    """Proposes the same boxes for every image.

    Args:
        num_boxes: Number of boxes.
    """

    in_graph = True

    def __init__(self, num_boxes: int) -> None:
        self.boxes = fixed_boxes(num_boxes)

    def __call__(self, pixels: tf.Tensor) -> Proposals:
        """Returns the fixed boxes; see `Proposer`."""
        shape = [tf.shape(pixels)[0], len(self.boxes)]
        return Proposals(
            tf.broadcast_to(tf.constant(self.boxes), [*shape, 4]),
            tf.ones(shape),
            tf.fill(shape, True),
        )


def build(settings: RegionsConfig, backbone: Backbone, weights: Path | None = None) -> GridProposer:
    """Builds the proposer."""
    return GridProposer(settings.num_regions - 1)
