"""Image files to pixels in graph, for training and export.

`read_image` runs once for each image, when a data set is prepared; it turns any file into a JPEG or
PNG. `decode_image` decodes these in graph and is the only decoder of training and evaluation.
`decode_any_image` does in graph what both do together, for the exported model, which has no Python.
Images that users ask about are decoded in Python, to the same pixels, by `visem_tf.images.read`.
"""

import io

import tensorflow as tf
from PIL import Image

from visem_tf.images.orient import jpeg_orientation, png_orientation
from visem_tf.images.read import (
    MAX_PIXELS,
    ImageError,
    open_image,
    orientation_of,
    read_file,
    upright_rgb,
)
from visem_tf.runtime.storage import PathLike, as_path

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_16_BITS_OF_GREY = b"\x10\x00"
"""Bit depth and colour type in the header of a PNG."""


def read_image(source: PathLike | bytes, name: str | None = None) -> bytes:
    """Returns an image as JPEG or PNG bytes that `decode_image` decodes correctly.

    An upright JPEG in colour or grey and an opaque 8-bit PNG in colour or grey are returned
    unchanged. Every other image becomes an upright, opaque 8-bit RGB PNG: CMYK, palettes, 1 and 16
    bits, EXIF orientation, the first frame of an animation, WebP, TIFF, GIF, BMP, PPM and, if
    Pillow supports it, AVIF, and with pillow-heif HEIC. Transparent pixels become white; of 10, 12,
    14 or 16 bits of grey that are in use, the upper 8 are kept, and of 16 bits of colour.

    Args:
        source: Path on any storage, or the bytes of the file.
        name: Name of the image in errors; by default that of the file.

    Returns:
        The encoded image.

    Raises:
        ImageError: The file is missing, empty, truncated, damaged or not an image, has more than
            12,000 x 9,000 pixels, or has 32-bit or floating-point pixels.

    Example:
        >>> buffer = io.BytesIO()
        >>> Image.new("CMYK", (3, 2)).save(buffer, "TIFF")
        >>> decode_image(read_image(buffer.getvalue(), "mine.tif")).shape
        TensorShape([2, 3, 3])
    """
    if name is None:
        name = "image" if isinstance(source, bytes) else as_path(source).name
    data = source if isinstance(source, bytes) else read_file(as_path(source), name)
    with open_image(data, name) as image:
        unchanged, is_png = _may_stay(image, data), image.format == "PNG"
        if unchanged:
            # An eighth of the size each way: every byte is read, few pixels are computed.
            image.draft("L", (1, 1))
            image.load()
    if unchanged and _tensorflow_reads(data):
        return data
    with open_image(data, name) as image:
        encoded = _as_png(image, name)
    if is_png and not _tensorflow_reads(data):  # as in the exported model
        raise ImageError(name, "damaged image (TensorFlow cannot decode this PNG)")
    return encoded


def _may_stay(image: Image.Image, data: bytes) -> bool:
    """Whether TensorFlow decodes the image correctly as it is, judging by its header."""
    if image.mode not in ("RGB", "L") or orientation_of(image) != 1:
        return False
    if image.format == "PNG":
        bit_depth = data[24]  # in the header block, which is always first
        is_animated = getattr(image, "is_animated", False)
        return bit_depth == 8 and not image.has_transparency_data and not is_animated
    return image.format in ("JPEG", "MPO")


def _tensorflow_reads(data: bytes) -> bool:
    """Whether TensorFlow, which is stricter than Pillow in some respects, accepts the bytes."""
    try:
        tf.io.decode_jpeg(data, channels=3, ratio=8 if data[:2] == b"\xff\xd8" else 1)
    except tf.errors.InvalidArgumentError:
        return False
    return True


def _as_png(image: Image.Image, name: str) -> bytes:
    """Encodes the first frame of an image as an upright, opaque 8-bit RGB PNG."""
    rgb = upright_rgb(image, name)
    buffer = io.BytesIO()
    # Without `icc_profile` and the like, which `save` would copy from `rgb.info`.
    rgb.info.clear()
    rgb.save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()


def decode_image(encoded: tf.Tensor) -> tf.Tensor:
    """Decodes a JPEG or PNG in graph, to the pixels that Pillow computes.

    It uses the exact inverse cosine transform: with TensorFlow's default one, colours differ by up
    to 50 levels from every other decoder.

    Args:
        encoded: String scalar, as `read_image` returns it.

    Returns:
        uint8 tensor [height, width, 3], red, green, blue.

    Raises:
        tf.errors.InvalidArgumentError: The bytes are no JPEG or PNG.
    """
    # Despite its name this operation reads PNG too.
    pixels = tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE")
    return tf.ensure_shape(pixels, [None, None, 3])


def decode_any_image(encoded: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Decodes a JPEG or PNG that `read_image` has not read, in graph.

    Args:
        encoded: String scalar with the bytes of a file.

    Returns:
        uint8 tensor [height, width, 3] as stored, on white where it is transparent, and the EXIF
        orientation, int32 scalar in 1..8, by which it is still to be turned.

    Raises:
        tf.errors.InvalidArgumentError: The bytes are no JPEG or PNG, are truncated or damaged, or
            have more than 12,000 x 9,000 pixels.
    """
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
    return tf.cond(
        is_jpeg,
        lambda: (decode_image(encoded), jpeg_orientation(encoded)),
        lambda: (_decode_png(encoded), png_orientation(encoded)),
    )


def _decode_png(encoded: tf.Tensor) -> tf.Tensor:
    """Decodes a PNG to the pixels of `visem_tf.images.read`, uint8 [H, W, 3]."""
    is_deep_grey = tf.equal(tf.strings.substr(encoded, 24, 2), _16_BITS_OF_GREY)
    return tf.cond(
        is_deep_grey, lambda: _decode_deep_grey(encoded), lambda: _decode_png_on_white(encoded)
    )


def _decode_deep_grey(encoded: tf.Tensor) -> tf.Tensor:
    """Decodes a PNG of 16 bits of grey to the upper 8 of the bits in use: uint8 [H, W, 3]."""
    grey = tf.io.decode_png(encoded, channels=1, dtype=tf.uint16)
    first_with_more = tf.constant([1 << 8, 1 << 10, 1 << 12, 1 << 14])
    used = tf.cast(tf.reduce_max(tf.cast(grey, tf.int32)) >= first_with_more, tf.int32)
    shift = tf.cast(2 * tf.reduce_sum(used), tf.uint16)
    upper = tf.cast(tf.bitwise.right_shift(grey, shift), tf.uint8)
    return tf.tile(upper, [1, 1, 3])


def _decode_png_on_white(encoded: tf.Tensor) -> tf.Tensor:
    """Decodes a PNG and blends it with white, rounded as Pillow does: uint8 [H, W, 3]."""
    image = tf.cast(tf.io.decode_png(encoded, channels=4), tf.int32)
    colours, opacity = image[..., :3], image[..., 3:]
    # TensorFlow gives an opaque PNG of 1, 2 or 4 bits the largest number of that many bits.
    bits = tf.cast(tf.io.decode_raw(tf.strings.substr(encoded, 24, 1), tf.uint8)[0], tf.int32)
    largest = tf.bitwise.left_shift(1, bits) - 1
    opacity = tf.where(tf.reduce_all(tf.equal(opacity, largest)), 255, opacity)
    blended = colours * opacity + 255 * (255 - opacity)
    return tf.cast((2 * blended + 255) // 510, tf.uint8)
