"""Crops in the shape of their regions: the CNN sees little squeezed (the paper's first limit).

A CNN that ends in an average takes pixels of any height and width, but a batch must have one shape.
So there are a few shapes of about one area, and every region is described in that which is nearest
to its own.
"""

import math
from collections.abc import Callable, Sequence

import tensorflow as tf

from visem_tf.regions.resample import crop_and_resize

ASPECTS = (0.4, 0.63, 1.0, 1.6, 2.5)
"""Widths over heights of the shapes; the steps between them are equal in the logarithm."""
_STRIDE = 16


def shapes(size: int) -> list[tuple[int, int]]:
    """Heights and widths of the shapes for crops of about size x size pixels.

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
    """The number of the shape that is nearest to each region's own.

    Args:
      boxes: float [B, R, 4], `rel_yxyx`.
      extents: float [B, 2], height and width of the pictures in one unit.
      sizes: Heights and widths of the shapes.

    Returns:
      int32 [B, R], positions in `sizes`.
    """
    aspects = tf.constant([width / height for height, width in sizes])
    ymin, xmin, ymax, xmax = tf.unstack(boxes, axis=2)
    height = tf.maximum((ymax - ymin) * extents[:, :1], 1e-6)
    width = tf.maximum((xmax - xmin) * extents[:, 1:], 1e-6)
    distance = tf.abs(tf.math.log(width / height)[..., tf.newaxis] - tf.math.log(aspects))
    return tf.argmin(distance, axis=2, output_type=tf.int32)


def describe_in_own_shape(
    describe: Callable[[tf.Tensor], tf.Tensor],
    pixels: tf.Tensor,
    boxes: tf.Tensor,
    extents: tf.Tensor,
    size: int,
) -> tf.Tensor:
    """Describes regions, each by a crop of about its own aspect ratio.

    Args:
      describe: The CNN, float [M, S, Q, 3] to [M, F] for any S and Q; it is called for every
        shape, so that it had better be one graph.
      pixels: float [B, P, P, 3] in 0..255, pictures in the top left corners.
      boxes: float [B, R, 4], `rel_yxyx`.
      extents: float [B, 2], the shares of the square that the pictures fill.
      size: Crops have about size x size pixels.

    Returns:
      float [B, R, F].
    """
    sizes = shapes(size)
    shape = nearest_shape(boxes, extents, sizes)
    places, features = [], []
    for number, height_and_width in enumerate(sizes):
        chosen = tf.where(tf.equal(shape, number))  # [M, 2]
        picture = chosen[:, 0]
        crops = crop_and_resize(
            tf.gather(pixels, picture),
            tf.gather_nd(boxes, chosen)[:, tf.newaxis],
            height_and_width,
            extents=tf.gather(extents, picture),
        )[:, 0]
        places.append(chosen)
        features.append(_features(describe, crops))
    found = tf.concat(features, axis=0)
    count = tf.concat([tf.shape(boxes, tf.int64)[:2], [found.shape[1]]], axis=0)
    return tf.scatter_nd(tf.concat(places, axis=0), found, count)


def _features(describe: Callable[[tf.Tensor], tf.Tensor], crops: tf.Tensor) -> tf.Tensor:
    """The CNN on crops [M, S, Q, 3], which may be none: fused convolutions fail on those."""
    missing = tf.cast(tf.equal(tf.shape(crops)[0], 0), tf.int32)
    padded = tf.pad(crops, [[0, missing], [0, 0], [0, 0], [0, 0]])
    return describe(padded)[: tf.shape(crops)[0]]


def _to_stride(side: float) -> int:
    return max(32, _STRIDE * round(side / _STRIDE))
