"""Cropping, resizing and pooling as matrix products.

Resampling is separable and linear, so that a crop is two matrix products: one down the rows, one
along the columns. In this form many boxes of a picture are cut out at once, in graph, with the
same numbers in Python, in a SavedModel and in TFLite, which has no `crop_and_resize`.

Boxes are `rel_yxyx`: (ymin, xmin, ymax, xmax) relative to the picture.
"""

from collections.abc import Callable

import tensorflow as tf


def crop_and_resize(
    pixels: tf.Tensor,
    boxes: tf.Tensor,
    size: int | tuple[int, int],
    weights: Callable[[tf.Tensor, tf.Tensor, tf.Tensor, int], tf.Tensor] | None = None,
    extents: tf.Tensor | None = None,
) -> tf.Tensor:
    """Cuts boxes out of pictures and warps each to a size, anti-aliased.

    The filter is a triangle that widens with the step between samples, as in
    `tf.image.resize(method="bilinear", antialias=True)`, which it equals on the whole frame.

    Args:
      pixels: float [B, H, W, C].
      boxes: float [B, R, 4], `rel_yxyx`.
      size: Side of a crop in pixels, or height S and width Q.
      weights: Computes `triangle_weights` in another way, for pictures that fill their arrays.
      extents: float [B, 2], where pictures end before row H and column W: the shares that they
        fill, from the top left; what is beyond is never looked at. None: they fill all.

    Returns:
      float [B, R, S, Q, C].
    """
    size_down, size_across = (size, size) if isinstance(size, int) else size
    shape = tf.shape(pixels)
    batch, height, width = shape[0], shape[1], shape[2]
    channels = pixels.shape[3]
    regions = tf.shape(boxes)[1]
    ymin, xmin, ymax, xmax = tf.unstack(boxes, axis=2)
    if extents is None:
        weights = weights or triangle_weights
        rows = weights(ymin, ymax, height, size_down)  # [B, R, S, H]
        columns = weights(xmin, xmax, width, size_across)  # [B, R, Q, W]
    else:
        rows = triangle_weights(ymin, ymax, height, size_down, extents[:, :1])
        columns = triangle_weights(xmin, xmax, width, size_across, extents[:, 1:])
    planes = tf.reshape(tf.transpose(pixels, [0, 1, 3, 2]), [batch, height, channels * width])
    cut = tf.matmul(tf.reshape(rows, [batch, regions * size_down, height]), planes)
    cut = tf.reshape(cut, [batch, regions, size_down * channels, width])
    crops = tf.matmul(cut, columns, transpose_b=True)  # [B, R, S C, Q]
    crops = tf.reshape(crops, [batch, regions, size_down, channels, size_across])
    return tf.transpose(crops, [0, 1, 2, 4, 3])


def triangle_weights(
    start: tf.Tensor,
    stop: tf.Tensor,
    length: tf.Tensor,
    size: int,
    used: tf.Tensor | None = None,
) -> tf.Tensor:
    """Weights of `length` samples in `size` resampled ones; rows sum to 1.

    Args:
      start: float [B, R], where boxes begin, relative to `length`.
      stop: float [B, R], where they end.
      length: Samples there are, int32 scalar.
      size: Samples wanted.
      used: float [B, 1], the share of the samples, from the first, that are the picture's, to which
        `start` and `stop` then refer; None: all.

    Returns:
      float [B, R, size, length].
    """
    length_f = tf.cast(length, tf.float32)
    samples = tf.range(length_f) + 0.5
    if used is not None:
        length_f = tf.round(length_f * used)[..., tf.newaxis]  # [B, 1, 1]
    step = (stop - start)[..., tf.newaxis] * length_f / size  # [B, R, 1] samples per output
    centres = start[..., tf.newaxis] * length_f + (tf.range(size, dtype=tf.float32) + 0.5) * step
    centres = tf.clip_by_value(centres, 0.5, length_f - 0.5)
    distance = tf.abs(samples - centres[..., tf.newaxis])  # [B, R, S, length]
    weights = tf.nn.relu(1.0 - distance / tf.maximum(step, 1.0)[..., tf.newaxis])
    if used is not None:
        weights = tf.where(samples < length_f[..., tf.newaxis], weights, 0.0)
    return weights / tf.reduce_sum(weights, axis=-1, keepdims=True)


def pooling_weights(boxes: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """The average over a box of a map of cells, as weights of the cells.

    A cell counts with the area that it shares with the box, so that the average is that of the
    map seen as a step function, exactly.

    Args:
      boxes: float [..., 4], `rel_yxyx`, not empty.
      height: Cells down.
      width: Cells across.

    Returns:
      float [..., height * width]; the weights of a box sum to 1.
    """
    ymin, xmin, ymax, xmax = tf.unstack(boxes, axis=-1)
    down, across = _overlaps(ymin, ymax, height), _overlaps(xmin, xmax, width)
    weights = down[..., :, tf.newaxis] * across[..., tf.newaxis, :]
    return tf.reshape(weights, tf.concat([tf.shape(boxes)[:-1], [height * width]], axis=0))


def _overlaps(start: tf.Tensor, stop: tf.Tensor, cells: int) -> tf.Tensor:
    edges = tf.range(cells, dtype=tf.float32)
    start, stop = (start * cells)[..., tf.newaxis], (stop * cells)[..., tf.newaxis]
    shared = tf.nn.relu(tf.minimum(stop, edges + 1.0) - tf.maximum(start, edges))
    return shared / tf.reduce_sum(shared, axis=-1, keepdims=True)


def pool_regions(feature_map: tf.Tensor, boxes: tf.Tensor) -> tf.Tensor:
    """Averages a feature map over boxes.

    Args:
      feature_map: float [B, H, W, F].
      boxes: float [B, R, 4], `rel_yxyx`.

    Returns:
      float [B, R, F].
    """
    _, height, width, channels = feature_map.shape
    cells = tf.reshape(feature_map, [-1, height * width, channels])
    return tf.matmul(pooling_weights(boxes, height, width), cells)
