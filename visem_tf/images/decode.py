"""Image files to pixels: in Python for files of users, in graph for training and export.

`read_image` runs once for each image, when a data set is prepared or when a user's own image is
described; it turns any file into a JPEG or PNG. `decode_image` decodes these in graph and is the
only decoder of training and evaluation. `decode_any_image` does in graph what both do together, for
the exported model, which has no Python. Colour profiles are not applied.
"""

from __future__ import annotations

import io
import re
import threading
import warnings

import numpy as np
import tensorflow as tf
from PIL import Image

from visem_tf.errors import UserError
from visem_tf.images.orient import (
    jpeg_orientation,
    orientation_of,
    png_orientation,
    turn_image_upright,
)
from visem_tf.runtime.storage import AnyPath, PathLike, as_path, read_regular, reason_of

MAX_PIXELS = 12_000 * 9_000
MAX_BYTES = 4 * MAX_PIXELS
"""Bytes of the largest image without compression, with 8 bits for each of four channels. Larger
files are refused before they are read."""
FORMATS = ("JPEG", "MPO", "PNG", "GIF", "WEBP", "TIFF", "BMP", "PPM", "AVIF", "HEIF")

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_HEIC = re.compile(rb".{4}ftyp(hei|hev|mif1|msf1)", re.DOTALL)
_OPEN_LOCK = threading.Lock()


class ImageError(UserError):
    """An image that cannot be used.

    Args:
        name: Name of the image, for the message.
        reason: Why the image cannot be used; kept as the attribute `reason`.
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.name = name
        self.reason = reason

    def __reduce__(self) -> tuple[type[ImageError], tuple[str, str]]:
        return ImageError, (self.name, self.reason)


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
    if not data:
        raise ImageError(name, "the file is empty")
    try:
        with _open(data, name) as image:
            unchanged, is_png = _may_stay(image, data), image.format == "PNG"
            if unchanged:
                # An eighth of the size each way: every byte is read, few pixels are computed.
                image.draft("L", (1, 1))
                image.load()
        if unchanged and _tensorflow_reads(data):
            return data
        with _open(data, name) as image:
            encoded = _as_png(image, name)
        if is_png and not _tensorflow_reads(data):  # as in the exported model
            raise ImageError(name, "damaged image (TensorFlow cannot decode this PNG)")
        return encoded
    except ImageError:
        raise
    except Exception as error:  # Pillow raises nearly any exception for a damaged file
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ImageError(name, f"damaged image ({reason})") from error


def read_file(path: AnyPath, name: str) -> bytes:
    """Returns the bytes of a file of at most `MAX_BYTES`.

    Args:
        path: Path of the file.
        name: Name of the file in errors.

    Raises:
        ImageError: The file cannot be read, or is larger.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ImageError(name, f"the file is larger than {MAX_BYTES:,} bytes")
        return read_regular(path)
    except (OSError, ValueError) as error:
        reason = reason_of(error) if isinstance(error, OSError) else str(error)
        raise ImageError(name, f"cannot be read ({reason})") from error


def _open(data: bytes, name: str) -> Image.Image:
    """Opens an image without decoding it; refuses unknown formats and too many pixels."""
    Image.init()
    if _HEIC.match(data) and b"avif" not in data[:64] and "HEIF" not in Image.OPEN:
        _register_heic(name)
    formats = [each for each in FORMATS if each in Image.OPEN]
    try:
        # Pillow warns from 89 million pixels on, which are allowed here. Warning filters belong to
        # the whole process, hence the lock.
        with _OPEN_LOCK, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(data), formats=formats)
    except Image.DecompressionBombError as error:
        raise ImageError(name, f"more than {MAX_PIXELS:,} pixels") from error
    except Image.UnidentifiedImageError as error:
        raise ImageError(name, f"not an image in a known format ({', '.join(formats)})") from error
    width, height = image.size
    if width * height > MAX_PIXELS:
        image.close()
        raise ImageError(name, f"{width} x {height} is more than {MAX_PIXELS:,} pixels")
    return image


def _register_heic(name: str) -> None:
    """Adds HEIC, which phones write, to the formats of Pillow."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError as error:
        raise ImageError(
            name, 'HEIC needs the package pillow-heif: pip install "visem_tf[heic]"'
        ) from error
    register_heif_opener()


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


def upright_rgb(image: Image.Image, name: str) -> Image.Image:
    """Returns the first frame of an image as an upright, opaque 8-bit RGB image.

    Args:
        image: Any image of Pillow.
        name: Name of the image in errors.

    Raises:
        ImageError: The image has 32-bit or floating-point pixels.
    """
    image.load()
    orientation = orientation_of(image)  # after loading: Pillow itself turns a TIFF
    if image.mode.startswith("I;16"):
        rgb = Image.fromarray(_upper_8_bits(np.asarray(image))).convert("RGB")
    elif image.mode in ("I", "F"):
        raise ImageError(name, "32-bit or floating-point pixels; save it with 8 or 16 bits")
    elif image.has_transparency_data:
        transparent = image.convert("RGBA")
        rgb = Image.new("RGB", image.size, "white")
        rgb.paste(transparent, mask=transparent.getchannel("A"))
    else:
        rgb = image.convert("RGB")
    return turn_image_upright(rgb, orientation)


def _upper_8_bits(grey: np.ndarray) -> np.ndarray:
    """Returns the upper 8 of the bits that are in use: X-rays have 10, 12 or 14 of the 16 bits.

    Args:
        grey: Unsigned 16-bit array [H, W].
    """
    largest = int(grey.max())
    bits = next(bits for bits in (8, 10, 12, 14, 16) if largest < 1 << bits)
    return (grey >> (bits - 8)).astype(np.uint8)


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
        lambda: (_decode_png_on_white(encoded), png_orientation(encoded)),
    )


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
