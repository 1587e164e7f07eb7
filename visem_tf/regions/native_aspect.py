"""Crops at about the aspect ratio of their regions, which the CNN sees with little distortion.

This removes a part of the first limitation that the paper names (4.4). A CNN that ends in an
average accepts pixels of any height and width, but a batch has one shape. So there are a few shapes
of about the same area, and the features of a region are extracted at the shape that is nearest to
its own.
"""

import math
from collections.abc import Callable, Sequence

import tensorflow as tf

from visem_tf.regions.resample import crop_and_resize

ASPECTS = (0.4, 0.63, 1.0, 1.6, 2.5)
"""Widths over heights of the shapes, in equal steps of the logarithm."""
_STRIDE = 16


def shapes(size: int) -> list[tuple[int, int]]:
    """Returns heights and widths of the shapes for crops of about size x size pixels.

    Example:
        >>> shapes(96)
        [(144, 64), (128, 80), (96, 96), (80, 128), (64, 144)]
    """
    return [
        (_to_stride(size / math.sqrt(aspect)), _to_stride(size * math.sqrt(aspect)))
        for aspect in ASPECTS
    ]


def nearest_shape(
    boxes: tf.Tensor, extents: tf.Tensor, sizes: Sequence[tuple[int, int]]
) -> tf.Tensor:
    """Returns the index of the shape whose aspect ratio is nearest to that of each region.

    Args:
        boxes: float tensor [B, R, 4], `rel_yxyx`.
        extents: float tensor [B, 2], height and width of the images in one unit.
        sizes: Heights and widths of the shapes.

    Returns:
        int32 tensor [B, R] of indices into `sizes`.
    """
    aspects = tf.constant([width / height for height, width in sizes])
    ymin, xmin, ymax, xmax = tf.unstack(boxes, axis=2)
    height = tf.maximum((ymax - ymin) * extents[:, :1], 1e-6)
    width = tf.maximum((xmax - xmin) * extents[:, 1:], 1e-6)
    distance = tf.abs(tf.math.log(width / height)[..., tf.newaxis] - tf.math.log(aspects))
    return tf.argmin(distance, axis=2, output_type=tf.int32)


def extract_at_native_aspect(
    cnn: Callable[[tf.Tensor], tf.Tensor],
    pixels: tf.Tensor,
    boxes: tf.Tensor,
    extents: tf.Tensor,
    size: int,
) -> tf.Tensor:
    """Extracts the features of regions from crops of about their own aspect ratios.

    Args:
        cnn: Function from crops float [M, S, Q, 3] to features [M, F] for any S and Q. It is called
            once for each shape, so that it should be one graph.
        pixels: float tensor [B, P, P, 3] in 0..255, with the images in the top left corners.
        boxes: float tensor [B, R, 4], `rel_yxyx`.
        extents: float tensor [B, 2], the shares of the square that the images fill.
        size: Crops have about size x size pixels.

    Returns:
        float tensor [B, R, F].
    """
    sizes = shapes(size)
    shape = nearest_shape(boxes, extents, sizes)
    places, features = [], []
    for number, height_and_width in enumerate(sizes):
        chosen = tf.where(tf.equal(shape, number))  # [M, 2]
        image = chosen[:, 0]
        crops = crop_and_resize(
            tf.gather(pixels, image),
            tf.gather_nd(boxes, chosen)[:, tf.newaxis],
            height_and_width,
            extents=tf.gather(extents, image),
        )[:, 0]
        # Fused convolutions fail without any crop: one of zeros stands in, and is cut off again.
        missing = tf.cast(tf.equal(tf.shape(crops)[0], 0), tf.int32)
        padded = tf.pad(crops, [[0, missing], [0, 0], [0, 0], [0, 0]])
        places.append(chosen)
        features.append(cnn(padded)[: tf.shape(crops)[0]])
    found = tf.concat(features, axis=0)
    count = tf.concat([tf.shape(boxes, tf.int64)[:2], [found.shape[1]]], axis=0)
    return tf.scatter_nd(tf.concat(places, axis=0), found, count)


def _to_stride(side: float) -> int:
    return max(32, _STRIDE * round(side / _STRIDE))
