"""The CNN trained further, from a chosen block on, and the file of what it has learned.

Batch norms stay as ImageNet left them: batches of crops are small and all of one kind. Only the
convolutions after the chosen point change, and only they are in the file.
"""

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from visem_tf.errors import UserError
from visem_tf.regions.backbone import Backbone, load_backbone
from visem_tf.runtime.files import atomic_path

LAST_BLOCK = 8
"""The number that stands for the last convolution, after the seven blocks."""


class TrainableCNN(keras.layers.Layer):
    """A CNN of `visem_tf.regions.backbone` whose last blocks can be trained.

    Args:
      backbone: Its network becomes trainable in part; its own constants stay as they were.
      from_block: The first block that is trained, 1 to 7, or `LAST_BLOCK`.

    Raises:
      ValueError: `from_block` is out of range.
    """

    def __init__(self, backbone: Backbone, from_block: int) -> None:
        super().__init__()
        if not 1 <= from_block <= LAST_BLOCK:
            raise ValueError(f"from_block must be from 1 to {LAST_BLOCK}, got {from_block}")
        self.network = backbone.cnn
        self.network.trainable = True
        for layer in self.network.layers:
            kernels = isinstance(layer, (keras.layers.Conv2D, keras.layers.DepthwiseConv2D))
            layer.trainable = kernels and _block_of(layer.name) >= from_block
        self.built = True

    def feature_map(self, pixels: tf.Tensor) -> tf.Tensor:
        """The last map of pixels float [B, H, W, 3] in 0..255: float [B, H/32, W/32, F]."""
        return self.network((pixels - 127.0) / 128.0, training=False)

    def features(self, pixels: tf.Tensor) -> tf.Tensor:
        """Describes pixels float [B, H, W, 3] in 0..255 by vectors float [B, F]."""
        return tf.reduce_mean(self.feature_map(pixels), axis=[1, 2])

    def write(self, path: Path) -> None:
        """Writes what was trained, whole or not at all."""
        weights = {variable.path: np.asarray(variable) for variable in self.trainable_variables}
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, **weights)


def load_tuned(name: str, path: Path) -> Backbone:
    """Reads a CNN that was trained further, frozen again.

    Args:
      name: The network that it started from.
      path: What `TrainableCNN.write` wrote.

    Raises:
      UserError: The file is of another network, or damaged.
    """
    started = load_backbone(name)
    variables = {variable.path: variable for variable in started.cnn.variables}
    try:
        with np.load(path, allow_pickle=False) as weights:
            for key in weights.files:
                variables[key].assign(weights[key])
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{path} holds no weights of the CNN {name} ({error})") from error
    kernel, bias = started.classifier_kernel.numpy(), started.classifier_bias.numpy()
    return Backbone(name, started.cnn, kernel, bias)


def _block_of(layer: str) -> int:
    """The block of a layer by its name; 0 for the stem."""
    if layer.startswith("block"):
        return int(layer[len("block")])
    return LAST_BLOCK if layer.startswith("top") else 0
