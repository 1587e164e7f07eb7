"""Images to squares of one size, which batches are made of; all of it in graph."""

import tensorflow as tf

from visem_tf.images.decode import decode_any_image, decode_image
from visem_tf.images.orient import turn_upright

NO_IMAGE = -1.0
"""Value of the pixels of a square that no image covers."""


def prepare_image(encoded: tf.Tensor, size: int, resolution: str = "square") -> tf.Tensor:
    """Decodes an image and brings it to a square, anti-aliased.

    Args:
        encoded: String scalar, as `visem_tf.images.decode.read_image` returns it.
        size: Side P of the square in pixels.
        resolution: "square" warps the image; "own" places it in the top left corner, reduced only
            if its longer side exceeds P.

    Returns:
        float tensor [P, P, 3] in 0..255; `NO_IMAGE` where the square has no image.
    """
    return place_images(decode_image(encoded), size, resolution)


def prepare_images(
    image_bytes: tf.Tensor, size: int, resolution: str = "square"
) -> tuple[tf.Tensor, tf.Tensor]:
    """Decodes files and brings each to a square, for the exported model.

    A server receives many images in one request, or joins requests of many users. One that cannot
    be decoded must not fail them all, so each is decoded on its own. The pixels are those of
    `prepare_image` after `visem_tf.images.decode.read_image`.

    Args:
        image_bytes: String tensor [B].
        size: Side P of the squares in pixels.
        resolution: "square" or "own", see `prepare_image`.

    Returns:
        Pixels, float tensor [B, P, P, 3] in 0..255, black for an image that cannot be decoded, and
        whether each image can be decoded, bool tensor [B]. An image cannot be decoded if it is no
        JPEG or PNG, is truncated or damaged, or has more than 12,000 x 9,000 pixels.
    """
    black = tf.data.Dataset.from_tensors((tf.zeros([size, size, 3]), False))

    def prepare(encoded: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        pixels, orientation = decode_any_image(encoded)
        if resolution == "own":
            return place_images(turn_upright(pixels, orientation), size, resolution), True
        # Turned when it is a square and small: the filter of the resizing is symmetric.
        return turn_upright(warp_images(pixels, size), orientation), True

    def prepare_or_black(encoded: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        # In graph, TensorFlow catches errors only in a pipeline of tf.data.
        prepared = tf.data.Dataset.from_tensors(encoded).map(prepare).ignore_errors()
        return prepared.concatenate(black).take(1).get_single_element()

    return tf.map_fn(
        prepare_or_black,
        image_bytes,
        fn_output_signature=(
            tf.TensorSpec([size, size, 3], tf.float32),
            tf.TensorSpec([], tf.bool),
        ),
    )


def check_readable(readable: tf.Tensor) -> tf.Tensor:
    """Fails in graph, naming the rows, unless all images can be decoded.

    Args:
        readable: bool tensor [B], of `prepare_images`.

    Returns:
        The same tensor.
    """
    rows = tf.strings.reduce_join(tf.strings.as_string(tf.where(~readable)[:, 0]), separator=", ")
    message = tf.strings.join(["image_bytes cannot be decoded as JPEG or PNG in rows ", rows])
    with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(readable), [message])]):
        return tf.identity(readable)


def place_images(pixels: tf.Tensor, size: int, resolution: str) -> tf.Tensor:
    """Brings images of one size to squares; see `prepare_image`.

    Args:
        pixels: Tensor [H, W, 3] or [B, H, W, 3] in 0..255, of any number type, upright.
        size: Side P of the squares in pixels.
        resolution: "square" or "own".

    Returns:
        float tensor [P, P, 3] or [B, P, P, 3] in 0..255, `NO_IMAGE` where a square has no image.
    """
    if resolution == "square":
        return warp_images(pixels, size)
    shape = tf.shape(pixels)[-3:-1]
    longest = tf.reduce_max(shape)
    reduced = tf.cast(tf.round(shape * size / longest), tf.int32)
    fitting = tf.cond(
        longest > size,
        lambda: tf.image.resize(pixels, tf.maximum(reduced, 1), antialias=True),
        lambda: tf.cast(pixels, tf.float32),
    )
    missing = size - tf.shape(fitting)[-3:-1]
    before = [[0, 0]] * (pixels.shape.rank - 3)
    padding = [*before, [0, missing[0]], [0, missing[1]], [0, 0]]
    placed = tf.pad(fitting, padding, constant_values=NO_IMAGE)
    return tf.ensure_shape(placed, [*pixels.shape[:-3], size, size, 3])


def warp_images(pixels: tf.Tensor, size: int) -> tf.Tensor:
    """Warps images to squares, anti-aliased.

    Args:
        pixels: Tensor [H, W, 3] or [B, H, W, 3] in 0..255, of any number type.
        size: Side P of the squares in pixels.

    Returns:
        float tensor [P, P, 3] or [B, P, P, 3] in 0..255.
    """
    # From bytes: as floats, the largest images would need four times the memory for the same sum.
    if pixels.dtype != tf.uint8:
        pixels = tf.cast(pixels, tf.float32)
    pixels = tf.image.resize(pixels, [size, size], antialias=True)
    return tf.ensure_shape(pixels, [*pixels.shape[:-3], size, size, 3])


def image_extents(pixels: tf.Tensor) -> tf.Tensor:
    """Returns the shares of squares [B, P, P, 3] that images fill, down and across: [B, 2]."""
    is_image = tf.cast(pixels[..., 0] > NO_IMAGE / 2, tf.float32)
    down = tf.reduce_mean(tf.reduce_max(is_image, axis=2), axis=1)
    across = tf.reduce_mean(tf.reduce_max(is_image, axis=1), axis=1)
    return tf.stack([down, across], axis=1)
