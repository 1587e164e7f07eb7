"""Encoded pictures to pixels for the exported model, which has no Python to catch errors with.

A server gets many pictures in one request, or puts requests of many users together. One that
cannot be decoded must not fail them all, so each is decoded on its own, and its errors are caught
in graph.
"""

import tensorflow as tf

from visem_tf.regions.extractor import prepare_picture
from visem_tf.regions.pictures import MAX_PIXELS

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def decode_pictures(
    image_bytes: tf.Tensor, size: int, resolution: str = "square"
) -> tuple[tf.Tensor, tf.Tensor]:
    """Decodes pictures and brings each to a square, as `prepare_picture` does.

    A picture is not readable when it is no JPEG or PNG, is cut short or broken, or has more than
    12,000 x 9,000 pixels; nothing is guessed for the part that is missing. What Pillow does before,
    where there is Python (`visem_tf.regions.pictures.read_picture`), is not done here: EXIF
    orientation is not applied and transparency is dropped, not laid on white.

    Args:
      image_bytes: string [B].
      size: Side P in pixels.
      resolution: "square" or "own".

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
        return prepare_picture(tf.identity(encoded), size, resolution)
