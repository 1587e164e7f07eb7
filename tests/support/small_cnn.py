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


@functools.cache
def _small_backbone(name: str) -> Backbone:
    """Maps of the strides of the real network, which depend on every pixel."""
    pixels = outputs = keras.Input([None, None, 3])
    for level, filters, side in (("P3", 40, 8), ("P4", 112, 2), ("P5", FEATURE_DIM, 2)):
        initializer = keras.initializers.RandomNormal(stddev=1.5 / side, seed=filters)
        outputs = keras.layers.Conv2D(
            *(filters, side, side),
            padding="same",
            activation="relu6",
            kernel_initializer=initializer,
            name=level,
        )(outputs)
    cnn = keras.Model(pixels, outputs)
    cnn.pyramid_level_inputs = {"P3": "P3", "P4": "P4"}
    random = np.random.default_rng(0)
    kernel = random.normal(0, 0.1, (FEATURE_DIM, 1000)).astype(np.float32)
    return Backbone(name, cnn, kernel, np.zeros(1000, np.float32))


@contextlib.contextmanager
def small_cnn() -> Iterator[None]:
    """Extracts features with the small CNN; a CNN that a run has trained stays the real one."""

    def load(name: str, tuned: Path | None = None) -> Backbone:
        return backbone.load_backbone(name, tuned) if tuned else _small_backbone(name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(extractor, "load_backbone", load)
        yield
