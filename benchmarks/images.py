"""Images: their regions, and the CNN's features of these."""

from __future__ import annotations

import io
from argparse import Namespace
from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from benchmarks import floors
from benchmarks.measuring import Case, Work
from visem_tf.config.presets import preset
from visem_tf.images.prepare import prepare_images
from visem_tf.regions.backbone import load_backbone
from visem_tf.regions.extractor import RegionExtractor
from visem_tf.regions.proposers.windows import window_grid
from visem_tf.regions.suppression import suppress

KINDS = {
    "whole frame": {"proposer": "none"},
    "20 regions, pooled": {"features": "pooled"},
    "20 regions, one pass": {"features": "one_pass"},
    "20 regions, one pass, trained proposer": {"features": "one_pass", "proposer": "trained"},
    "20 regions, one pass, CNNs of best": {
        "features": "one_pass",
        "proposer": "trained",
        "backbone": "efficientnet_lite2",
        "proposer_backbone": "efficientnet_lite0",
    },
    "20 regions, crops": {"features": "crops"},
    "20 regions, crops in own shapes": {"features": "crops", "resolution": "own"},
}
PART = 128
"""Side of an image whose middle map is what the last blocks read of a region in one pass."""


def features(count: int, given: Namespace) -> Iterator[Case]:
    """Yields the features of a batch of `count` noise images, with the preset `paper`.

    The floor is the CNN's own convolutions by oneDNN for one image, without what is between them:
    on the frame, and on all crops or the parts of the middle map where there are any; and those of
    the proposer's CNN, if it is another one.
    """
    settings = preset("paper").regions.updated({"batch_size": count})
    side, others = settings.picture_size, settings.num_regions - 1
    pixels = tf.random.uniform([count, side, side, 3], maxval=255.0, seed=0)
    for name, changes in KINDS.items():
        extractor = RegionExtractor(settings.updated(changes))
        cnn = extractor.backbone.cnn
        kind, other = changes.get("features", ""), changes.get("proposer_backbone")

        def floor(cnn: keras.Model = cnn, kind: str = kind, other: str | None = other) -> Work:
            parts = [floors.convolutions(cnn, 1, side)]
            if other:
                parts.append(floors.convolutions(load_backbone(other).cnn, 1, side))
            if kind == "crops":
                parts.append(floors.convolutions(cnn, others, settings.crop_size))
            if kind == "one_pass":
                middle = cnn.pyramid_level_inputs["P4"]
                parts.append(floors.convolutions(cnn, others, PART, after=middle))
            return floors.together(*parts)

        yield Case(
            f"features, {name}",
            f"{count} images of {side} x {side}, {settings.num_regions} regions",
            "images",
            count,
            lambda extractor=extractor: extractor.compiled(pixels).region_features.numpy(),
            floor=floor,
            floor_share=1 / count,
        )


def proposals(count: int, given: Namespace) -> Iterator[Case]:
    """Yields what precedes the features: decoding `count` noise images, and proposing boxes.

    The floor of decoding is decoding without resizing, that of the proposers the maps of the CNN,
    which one-pass features need in any case. The peer of the suppression is TensorFlow's.
    """
    settings = preset("paper").regions
    side, boxes = settings.picture_size, settings.num_regions - 1
    random = np.random.default_rng(0)
    files = tf.constant([_jpeg(random.integers(0, 256, [375, 500, 3], np.uint8))] * count)
    decode = tf.function(lambda files: prepare_images(files, side)[0])
    setting = f"{count} images of 500 x 375"

    @tf.function
    def decode_alone(files: tf.Tensor) -> tf.Tensor:
        return tf.map_fn(
            lambda file: tf.io.decode_jpeg(file)[0, 0, 0], files, fn_output_signature=tf.uint8
        )

    yield Case(
        "decoding images",
        setting,
        "images",
        count,
        lambda: decode(files).numpy(),
        floor=lambda: lambda: decode_alone(files).numpy(),
    )
    pixels = decode(files)
    for name in ("windows", "trained"):
        extractor = RegionExtractor(settings.updated({"proposer": name}))
        propose = tf.function(lambda pixels, own=extractor: own.proposer(pixels).boxes)
        maps = tf.function(lambda pixels, own=extractor: own.backbone.maps(pixels).last)
        yield Case(
            f"proposals, {name}",
            setting,
            "images",
            count,
            lambda propose=propose: propose(pixels).numpy(),
            floor=lambda maps=maps: lambda: maps(pixels).numpy(),
        )
    windows = tf.tile(tf.constant(window_grid())[tf.newaxis], [count, 1, 1])
    scores = tf.random.uniform(windows.shape[:2], seed=0)
    ours = tf.function(lambda: suppress(windows, scores, boxes, settings.nms_iou)[0])

    @tf.function
    def theirs() -> tf.Tensor:
        found = tf.image.combined_non_max_suppression(
            windows[:, :, tf.newaxis],
            scores[..., tf.newaxis],
            boxes,
            boxes,
            settings.nms_iou,
            clip_boxes=False,
        )
        return found.nmsed_boxes

    yield Case(
        "suppression",
        f"{count} images, {windows.shape[1]:,} windows",
        "images",
        count,
        lambda: ours().numpy(),
        peer=lambda: lambda: theirs().numpy(),
    )


def _jpeg(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()
