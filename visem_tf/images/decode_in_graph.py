"""Encoded pictures to pixels for the exported model, which has no Python to catch errors with.

A server gets many pictures in one request, or puts requests of many users together. One that
cannot be decoded must not fail them all, so each is decoded on its own, and its errors are caught
in graph.
"""

import tensorflow as tf

from visem_tf.images.decode import MAX_PIXELS, decode_picture
from visem_tf.images.orient import jpeg_orientation, png_orientation, turn_upright
from visem_tf.regions.extractor import place_pictures, warp_picture

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def decode_pictures(
    image_bytes: tf.Tensor, size: int, resolution: str = "square"
) -> tuple[tf.Tensor, tf.Tensor]:
    """Decodes pictures and brings each to a square, to the pixels that Python gives.

    As `visem_tf.images.decode.read_picture` does before, where there is Python, a picture is
    turned as its metadata say, what is transparent shows white, and 16 bits keep their upper 8.

    A picture is not readable when it is no JPEG or PNG, is cut short or broken, or has more than
    12,000 x 9,000 pixels; nothing is guessed for the part that is missing.

    Args:
      image_bytes: string [B].
      size: Side P in pixels.
      resolution: See `visem_tf.regions.extractor.prepare_picture`.

    Returns:
      Pixels float [B, P, P, 3] in 0..255, black where a picture is not readable, and which are
      readable, bool [B].
    """
    return tf.map_fn(
        lambda encoded: _decode_or_black(encoded, size, resolution),
        image_bytes,
        fn_output_signature=(
            tf.TensorSpec([size, size, 3], tf.float32),
            tf.TensorSpec([], tf.bool),
        ),
    )


def all_readable(readable: tf.Tensor) -> tf.Tensor:
    """Fails, with the rows in its message, unless all pictures are readable.

    Args:
      readable: bool [B].

    Returns:
      The same.
    """
    rows = tf.strings.reduce_join(tf.strings.as_string(tf.where(~readable)[:, 0]), separator=", ")
    message = tf.strings.join(["image_bytes cannot be decoded as JPEG or PNG in rows ", rows])
    with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(readable), [message])]):
        return tf.identity(readable)


def _decode_or_black(encoded: tf.Tensor, size: int, resolution: str) -> tuple[tf.Tensor, tf.Tensor]:
    # TensorFlow catches errors in graph nowhere but in a pipeline of tf.data.
    black = tf.data.Dataset.from_tensors((tf.zeros([size, size, 3]), False))
    pictures = tf.data.Dataset.from_tensors(encoded)
    decoded = pictures.map(
        lambda picture: (_decode(picture, size, resolution), True)
    ).ignore_errors()
    pixels, readable = decoded.concatenate(black).take(1).get_single_element()
    return pixels, readable


def _decode(encoded: tf.Tensor, size: int, resolution: str) -> tf.Tensor:
    """Decodes one picture, or raises."""
    is_jpeg = tf.io.is_jpeg(encoded)
    is_png = tf.equal(tf.strings.substr(encoded, 0, len(_PNG_SIGNATURE)), _PNG_SIGNATURE)
    height_and_width = tf.cond(
        is_jpeg,
        lambda: tf.io.extract_jpeg_shape(encoded)[:2],
        lambda: tf.io.decode_raw(tf.strings.substr(encoded, 16, 8), tf.int32, little_endian=False),
    )
    pixels = tf.reduce_prod(tf.cast(height_and_width, tf.int64))
    checks = [
        tf.debugging.Assert(is_jpeg | is_png, ["no JPEG or PNG"]),
        tf.debugging.assert_less_equal(pixels, tf.constant(MAX_PIXELS, tf.int64)),
    ]
    with tf.control_dependencies(checks):
        encoded = tf.identity(encoded)
    picture = tf.cond(is_jpeg, lambda: decode_picture(encoded), lambda: _decode_png(encoded))
    orientation = tf.cond(
        is_jpeg, lambda: jpeg_orientation(encoded), lambda: png_orientation(encoded)
    )
    if resolution == "own":
        return place_pictures(turn_upright(picture, orientation), size, resolution)
    # Turned when it is a square and small: the filter of the resizing is symmetric.
    return turn_upright(warp_picture(picture, size), orientation)


def _decode_png(encoded: tf.Tensor) -> tf.Tensor:
    """Decodes a PNG and lays it on white, with Pillow's rounding: uint8 [H, W, 3]."""
    picture = tf.cast(tf.io.decode_png(encoded, channels=4), tf.int32)
    colours, opacity = picture[..., :3], picture[..., 3:]
    # An opaque PNG of 1, 2 or 4 bits gets the largest number of that many bits as its opacity.
    bits = tf.cast(tf.io.decode_raw(tf.strings.substr(encoded, 24, 1), tf.uint8)[0], tf.int32)
    largest = tf.bitwise.left_shift(1, bits) - 1
    opacity = tf.where(tf.reduce_all(tf.equal(opacity, largest)), 255, opacity)
    blended = colours * opacity + 255 * (255 - opacity)
    return tf.cast((2 * blended + 255) // 510, tf.uint8)
