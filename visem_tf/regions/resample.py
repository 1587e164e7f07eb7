"""Cropping, resizing and pooling as matrix products.

Resampling is separable and linear, so that a crop is two matrix products: one for the rows and one
for the columns. In this form many boxes of an image are cropped at once, in graph, with the same
results in Python, in a SavedModel and in TFLite, which has no `crop_and_resize`.

Boxes are `rel_yxyx`: (ymin, xmin, ymax, xmax) relative to the image.
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
    """Crops boxes from images and warps each to a size, anti-aliased.

    The filter is a triangle that widens with the step between samples, as in
    `tf.image.resize(method="bilinear", antialias=True)`, which it equals on the whole frame.

    Args:
        pixels: float tensor [B, H, W, C].
        boxes: float tensor [B, R, 4], `rel_yxyx`.
        size: Side of a crop in pixels, or height S and width Q.
        weights: Function that replaces `triangle_weights` if there are no `extents`.
        extents: float tensor [B, 2], the shares of rows and columns that the images fill, from the
            top left; pixels beyond are ignored. If None, the images fill all.

    Returns:
        float tensor [B, R, S, Q, C].
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
    cropped = tf.matmul(tf.reshape(rows, [batch, regions * size_down, height]), planes)
    cropped = tf.reshape(cropped, [batch, regions, size_down * channels, width])
    crops = tf.matmul(cropped, columns, transpose_b=True)  # [B, R, S C, Q]
    crops = tf.reshape(crops, [batch, regions, size_down, channels, size_across])
    return tf.transpose(crops, [0, 1, 2, 4, 3])


def triangle_weights(
    start: tf.Tensor,
    stop: tf.Tensor,
    length: tf.Tensor,
    size: int,
    used: tf.Tensor | None = None,
) -> tf.Tensor:
    """Returns the weights of `length` samples in `size` resampled ones; rows sum to 1.

    Args:
        start: float tensor [B, R], the beginnings of boxes, relative to `length`.
        stop: float tensor [B, R], the ends of boxes.
        length: Number of samples, int32 scalar.
        size: Number of resampled samples.
        used: float tensor [B, 1], the share of the samples, from the first, that belong to the
            image and that `start` and `stop` refer to. If None, all do.

    Returns:
        float tensor [B, R, size, length].
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
    """Returns the weights of the cells of a map in its average over a box.

    A cell has the weight of the area that it shares with the box, so that the average is exactly
    that of the map as a step function.

    Args:
        boxes: float tensor [..., 4], `rel_yxyx`, not empty.
        height: Number of rows of cells.
        width: Number of columns of cells.

    Returns:
        float tensor [..., height * width]; the weights of a box sum to 1.
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
        feature_map: float tensor [B, H, W, F].
        boxes: float tensor [B, R, 4], `rel_yxyx`.

    Returns:
        float tensor [B, R, F].
    """
    _, height, width, channels = feature_map.shape
    cells = tf.reshape(feature_map, [-1, height * width, channels])
    return tf.matmul(pooling_weights(boxes, height, width), cells)
