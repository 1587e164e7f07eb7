"""Random views of images, to train with, and boxes in them."""

import tensorflow as tf

from visem_tf.images.prepare import warp_images


def random_view(seed: tf.Tensor, min_side: float) -> tf.Tensor:
    """Draws a part of an image, mirrored horizontally in half of the cases.

    Args:
        seed: Seed of stateless random numbers, int32 [2].
        min_side: Smallest height and width, relative to the image.

    Returns:
        Box (ymin, xmin, ymax, xmax), float [4]; xmin > xmax if the view is mirrored.
    """
    turned, *rest = tf.unstack(tf.random.stateless_uniform([5], seed))
    sides = min_side + (1.0 - min_side) * tf.stack(rest[:2])
    start = tf.stack(rest[2:]) * (1.0 - sides)
    view = tf.concat([start, start + sides], axis=0)
    return tf.where(turned < 0.5, view, tf.gather(view, [0, 3, 2, 1]))


def show_view(pixels: tf.Tensor, view: tf.Tensor, size: int) -> tf.Tensor:
    """Cuts a view out of an image and resizes it, anti-aliased.

    Args:
        pixels: Tensor [H, W, 3] in 0..255.
        view: Box of the view, see `random_view`; it is rounded to whole pixels,
            at least one.
        size: Side P of the result in pixels.

    Returns:
        float tensor [P, P, 3] in 0..255.
    """
    sides = tf.shape(pixels)[:2]
    low, high = tf.minimum(view[:2], view[2:]), tf.maximum(view[:2], view[2:])
    start, stop = (
        tf.cast(tf.round(end * tf.cast(sides, tf.float32)), tf.int32) for end in (low, high)
    )
    start = tf.minimum(start, sides - 1)
    stop = tf.maximum(stop, start + 1)
    shown = warp_images(pixels[start[0] : stop[0], start[1] : stop[1]], size)
    return tf.where(view[1] > view[3], tf.reverse(shown, [1]), shown)


def boxes_in_view(
    boxes: tf.Tensor, view: tf.Tensor, min_visible: float
) -> tuple[tf.Tensor, tf.Tensor]:
    """Moves boxes of an image into a view of it.

    Args:
        boxes: float tensor [..., 4], `rel_yxyx`.
        view: Box of the view, see `random_view`, float [..., 4].
        min_visible: Share of its area that a box must show in the view to be kept.

    Returns:
        Boxes relative to the view, float [..., 4], and whether they are kept, bool [...].

    Example:
        >>> view = tf.constant([0.0, 1.0, 1.0, 0.0])  # the whole image, mirrored
        >>> boxes_in_view(tf.constant([[0.0, 0.0, 0.5, 0.25]]), view, 0.5)[0].numpy()
        array([[0.  , 0.75, 0.5 , 1.  ]], dtype=float32)
    """
    start = tf.concat([view[..., :2], view[..., :2]], axis=-1)
    extent = tf.concat([view[..., 2:], view[..., 2:]], axis=-1) - start
    first, second = tf.split((boxes - start) / extent, 2, axis=-1)
    moved = tf.concat([tf.minimum(first, second), tf.maximum(first, second)], axis=-1)
    clipped = tf.clip_by_value(moved, 0.0, 1.0)
    area, visible = (
        tf.reduce_prod(each[..., 2:] - each[..., :2], axis=-1) for each in (moved, clipped)
    )
    return clipped, (visible > min_visible * area) & (visible > 0.0)
