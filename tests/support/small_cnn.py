"""A CNN of three convolutions in the place of EfficientNet, for tests of what is around the CNN.

Tracing, optimising and converting the real network takes most of the time of an export.
"""

import contextlib
import functools
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest

from visem_tf.regions import backbone, extractor
from visem_tf.regions.backbone import FEATURE_DIM, Backbone
from visem_tf.runtime.arrays import read_arrays
from visem_tf.stages import finetune, propose

build_real_network = backbone.build_network


def _small_network(name: str) -> keras.Model:
    """Maps of the strides of the real network, which depend on every pixel."""
    pixels = outputs = keras.Input([None, None, 3])
    for layer, filters, side in (("P3", 40, 8), ("P4", 112, 2), ("top_conv", FEATURE_DIM, 2)):
        initializer = keras.initializers.RandomNormal(stddev=1.5 / side, seed=filters)
        outputs = keras.layers.Conv2D(
            *(filters, side, side),
            padding="same",
            activation="relu6",
            kernel_initializer=initializer,
            name=layer,
        )(outputs)
    network = keras.Model(pixels, outputs)
    network.pyramid_level_inputs = {"P3": "P3", "P4": "P4"}
    return network


def _load(name: str, path: Path | None = None) -> Backbone:
    network = _small_network(name)
    if path:
        weights = read_arrays(path)
        for variable in network.variables:
            variable.assign(weights.get(variable.path, variable))
    random = np.random.default_rng(0)
    kernel = random.normal(0, 0.1, (FEATURE_DIM, 1000)).astype(np.float32)
    return Backbone(name, network, kernel, np.zeros(1000, np.float32))


_load_once = functools.cache(_load)


@contextlib.contextmanager
def small_cnn() -> Iterator[None]:
    """Extracts features with the small CNN, and trains its last convolution where a run does.

    Tests of the weights of the real network, and of which of its blocks are trained, do without.
    """

    def load(name: str, tuned: Path | None = None) -> Backbone:
        return _load(name, tuned) if tuned else _load_once(name)

    with pytest.MonkeyPatch.context() as patch:
        for module in (extractor, finetune, propose):
            patch.setattr(module, "load_backbone", load)
        patch.setattr(backbone, "build_network", _small_network)
        yield
