"""A class-agnostic detector: how likely a box is to show what people write about, and where it is.

The paper takes its regions from a trained detector (3.1.1). This one is small and reads the maps
that the frozen CNN of the region features computes anyway. It has no anchors: every cell of a
pyramid of maps predicts one box, by the distances from its centre to the four sides (FCOS, Tian et
al., ICCV 2019), and the IoU that this box will reach.
"""

import io
import json
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import keras
import numpy as np
import tensorflow as tf

from visem_tf.errors import UserError
from visem_tf.regions.backbone import Backbone, Maps, weights_digest
from visem_tf.regions.coverage import select_covering
from visem_tf.runtime.arrays import read_arrays
from visem_tf.runtime.files import write_atomically
from visem_tf.runtime.json_files import parse_json
from visem_tf.runtime.storage import AnyPath

STRIDES = (8, 16, 32, 64)
"""Pixels of the image between neighbouring cells, for each map of the pyramid."""

_FORMAT = 1
_CANDIDATES = 300
_TYPICAL_DISTANCE = 4.0  # between the centre of a box and its sides, in strides


class _RequiredMetadata(TypedDict):
    format: int
    backbone: str
    weights: str
    channels: int


class _Metadata(_RequiredMetadata, total=False):
    """Description of a network in its file."""

    head_blocks: int


class BoxPredictions(NamedTuple):
    """The boxes that the cells of all maps predict, A cells in all.

    Attributes:
        logits: float [B, A]; their sigmoid is the expected IoU of the box.
        boxes: float [B, A, 4], `rel_yxyx`, not clipped to the image.
    """

    logits: tf.Tensor
    boxes: tf.Tensor


class ResidualBlock(keras.layers.Layer):
    """A residual block of a depthwise 3 x 3 convolution and a pointwise one."""

    def __init__(self, channels: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.depthwise = keras.layers.DepthwiseConv2D(3, padding="same")
        self.pointwise = keras.layers.Conv2D(channels, 1, activation="relu")

    def build(self, input_shape: Any) -> None:
        """Creates the weights."""
        self.depthwise.build(input_shape)
        self.pointwise.build(input_shape)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Returns a map of the shape of `inputs`, float [B, H, W, C]."""
        return inputs + self.pointwise(self.depthwise(inputs))


class BoxNetwork(keras.Model):
    """Pyramid and head of the detector, on the maps of a frozen CNN.

    Args:
        map_channels: Numbers of channels of the three maps of `Backbone.maps`.
        channels: Number of channels of the pyramid.
        head_blocks: Number of residual blocks of the head, which all maps share.
    """

    def __init__(
        self,
        map_channels: tuple[int, int, int],
        channels: int = 128,
        head_blocks: int = 4,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.map_channels = tuple(map_channels)
        self.channels = channels
        self.head_blocks = head_blocks
        self.laterals = [keras.layers.Conv2D(channels, 1) for _ in map_channels]
        self.norms = [keras.layers.LayerNormalization(epsilon=1e-6) for _ in map_channels]
        self.blocks = [ResidualBlock(channels) for _ in STRIDES]
        self.head = [ResidualBlock(channels) for _ in range(head_blocks)]
        self.last_norm = keras.layers.LayerNormalization(epsilon=1e-6)
        rare = keras.initializers.Constant(-np.log(99.0))  # most cells have no box
        small = keras.initializers.RandomNormal(stddev=0.01)
        self.score = keras.layers.Conv2D(1, 1, kernel_initializer=small, bias_initializer=rare)
        self.sides = keras.layers.Conv2D(4, 1, kernel_initializer=small)
        for layer, width in zip(self.laterals, map_channels, strict=True):
            layer.build((None, None, None, width))
        inner = [*self.norms, *self.blocks, *self.head, self.last_norm, self.score, self.sides]
        for layer in inner:
            layer.build((None, None, None, channels))
        self.level_scales = self.add_weight(
            name="level_scales", shape=[len(STRIDES)], initializer="ones"
        )
        self.built = True

    def call(self, maps: Maps) -> BoxPredictions:
        """Predicts a box for every cell.

        Args:
            maps: Maps of the CNN, of square images whose sides are multiples of 32 pixels; boxes of
                other images are slightly displaced.
        """
        fine, middle, last = (
            norm(lateral(each))
            for norm, lateral, each in zip(self.norms, self.laterals, maps, strict=True)
        )
        middle += _upsampled(last, middle)
        fine += _upsampled(middle, fine)
        coarse = tf.nn.avg_pool2d(last, 2, 2, "SAME")
        levels = [
            block(each)
            for block, each in zip(self.blocks, (fine, middle, last, coarse), strict=True)
        ]
        logits, boxes = [], []
        for scale, cells, grid in zip(
            tf.unstack(self.level_scales), levels, _grids(tf.shape(fine)[1]), strict=True
        ):
            for block in self.head:
                cells = block(cells)
            cells = self.last_norm(cells)
            sides = tf.exp(tf.clip_by_value(scale * self.sides(cells), -5.0, 5.0))
            top_left, bottom_right = tf.split(_TYPICAL_DISTANCE * grid.step * _flat(sides), 2, 2)
            logits.append(_flat(self.score(cells))[..., 0])
            boxes.append(tf.concat([grid.centres - top_left, grid.centres + bottom_right], axis=2))
        return BoxPredictions(tf.concat(logits, axis=1), tf.concat(boxes, axis=1))

    def centres(self, maps: Maps) -> tf.Tensor:
        """Returns the centres of all cells, float [A, 2], (y, x) relative to the image."""
        return tf.concat([grid.centres for grid in _grids(tf.shape(maps.fine)[1])], axis=0)


class _Grid(NamedTuple):
    """The cells of a map: their centres [H W, 2] and their distance, relative to the image."""

    centres: tf.Tensor
    step: tf.Tensor


def _grids(fine: tf.Tensor) -> list[_Grid]:
    """The cells of all levels of the pyramid, the finest of which has `fine` x `fine` cells."""
    side = tf.cast(fine * STRIDES[0], tf.float32)  # of the image, in pixels
    grids = []
    for stride in STRIDES:
        # Cells that padding adds at the lower and right border are partly outside of the image.
        count = tf.math.ceil(side / stride)
        places = (tf.range(count) + 0.5) * (stride / side)
        centres = tf.stack(tf.meshgrid(places, places, indexing="ij"), axis=2)
        grids.append(_Grid(tf.reshape(centres, [-1, 2]), stride / side))
    return grids


def _upsampled(coarse: tf.Tensor, fine: tf.Tensor) -> tf.Tensor:
    """Repeats the cells of a map to the size of a finer one."""
    doubled = tf.repeat(tf.repeat(coarse, 2, axis=1), 2, axis=2)
    return doubled[:, : tf.shape(fine)[1], : tf.shape(fine)[2]]


def _flat(cells: tf.Tensor) -> tf.Tensor:
    """Reshapes [B, H, W, C] to [B, H W, C]."""
    return tf.reshape(cells, [tf.shape(cells)[0], -1, cells.shape[3]])


def select_boxes(
    predictions: BoxPredictions, num_boxes: int
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Keeps the boxes that cover the predictions best; see `select_covering`.

    Args:
        predictions: Predictions for B images.
        num_boxes: Number R of boxes to keep.

    Returns:
        Boxes float [B, R, 4], scores float [B, R] between 0 and 1, and mask bool [B, R].
    """
    candidates = tf.minimum(max(_CANDIDATES, num_boxes), tf.shape(predictions.logits)[1])
    logits, best = tf.math.top_k(predictions.logits, candidates)
    boxes = tf.gather(predictions.boxes, best, batch_dims=1)
    return select_covering(boxes, tf.sigmoid(logits), num_boxes)


def write_network(network: BoxNetwork, path: Path, backbone: str, **about: Any) -> None:
    """Writes the weights in 16 bits, whole or not at all.

    Args:
        network: Trained network.
        path: Path of the `.npz` file.
        backbone: Name of the CNN whose maps the network reads.
        about: Further entries about the training, in JSON's types.
    """
    metadata = {
        "format": _FORMAT,
        "backbone": backbone,
        "weights": weights_digest(backbone),
        "channels": network.channels,
        "head_blocks": network.head_blocks,
        **about,
    }
    arrays = {
        f"{number:03d}": np.asarray(variable, np.float16)
        for number, variable in enumerate(network.variables)
    }
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, metadata=json.dumps(metadata), **arrays)
    write_atomically(path, content.getvalue())


def read_network(path: AnyPath, backbone: Backbone) -> BoxNetwork:
    """Reads a network that `write_network` wrote, without running code from the file.

    Args:
        path: Path of the `.npz` file.
        backbone: CNN whose maps the network will read.

    Raises:
        UserError: If the file is missing or damaged, or belongs to another CNN or version.
    """
    try:
        arrays = read_arrays(path)
        metadata: _Metadata = parse_json(str(arrays["metadata"]), _Metadata)
        weights = [arrays[name] for name in sorted(arrays) if name.isdigit()]
    except FileNotFoundError as error:
        raise UserError(f"there is no trained proposer {path}; give another file") from error
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{path} is not a trained proposer ({error}); give another file") from error
    if metadata["format"] != _FORMAT:
        raise UserError(f"{path} was written by another version of visem_tf; train it again")
    trained_on = metadata["backbone"]
    if trained_on != backbone.name:
        raise UserError(
            f"{path} was trained on the maps of {trained_on}, and the proposer reads those of "
            f"{backbone.name}; choose regions.proposer_backbone {trained_on}, or train another "
            "proposer"
        )
    if metadata["weights"] != weights_digest(backbone.name):
        raise UserError(
            f"{path} was trained on other weights of {trained_on} than those installed here; train "
            "another proposer"
        )
    head_blocks = metadata.get("head_blocks", 2)  # what files without the entry have
    network = BoxNetwork(backbone.map_channels, metadata["channels"], head_blocks)
    if [variable.shape for variable in network.variables] != [array.shape for array in weights]:
        raise UserError(f"{path} is not a trained proposer (its shapes differ); give another file")
    network.set_weights([array.astype(np.float32) for array in weights])
    return network
