"""The CNN on images and their regions, as the stage `features` runs it."""

from __future__ import annotations

from collections.abc import Iterator

import keras
import tensorflow as tf

from benchmarks.case import Case
from benchmarks.paths import products
from visem_tf.config.presets import preset
from visem_tf.regions.extractor import RegionExtractor

PICTURES = {"small": 4, "middle": 8, "large": 16}
KINDS = {
    "whole frame": {"proposer": "none"},
    "20 regions, pooled": {"features": "pooled"},
    "20 regions, crops": {},
}


def cases(size: str) -> Iterator[Case]:
    """Yields the whole frame, regions pooled from one pass, and the CNN on every crop."""
    settings = preset("paper").regions.updated({"batch_size": PICTURES[size]})
    count, side = PICTURES[size], settings.picture_size
    pixels = tf.random.uniform([count, side, side, 3], maxval=255.0, seed=0)
    for name, changes in KINDS.items():
        extractor = RegionExtractor(settings.updated(changes))
        crops = count * settings.num_regions if name.endswith("crops") else 0
        shapes = pointwise(extractor.backbone.cnn, count, side)
        if crops:
            shapes = pointwise(extractor.backbone.cnn, crops, settings.crop_size)
        run = extractor.compiled

        def one_by_one(run=run) -> None:
            run(pixels[:1])

        yield Case(
            f"features, {name}",
            size,
            f"batches of {count} pictures of {side} x {side}",
            "pictures",
            count,
            lambda run=run: run(pixels).region_features.numpy(),
            floor=products.together(products.layers(shapes, backward=False)),
            reference=one_by_one,
            reference_amount=1,
        )


def pointwise(cnn: keras.Model, count: int, side: int) -> list[products.Layer]:
    """Returns the CNN's 1 x 1 convolutions as matrix products, without depthwise convolutions."""
    convolutions = [
        layer
        for layer in cnn.layers
        if isinstance(layer, keras.layers.Conv2D) and layer.kernel_size == (1, 1)
    ]
    outputs = keras.Model(cnn.inputs, [layer.output for layer in convolutions])
    shapes = []
    for layer, shape in zip(
        convolutions, outputs.compute_output_shape((count, side, side, 3)), strict=True
    ):
        _, _, inputs, filters = layer.kernel.shape
        shapes.append((shape[0] * shape[1] * shape[2], inputs, filters))
    return shapes
