"""Pictures as files: whatever arrives becomes a JPEG or PNG that TensorFlow decodes rightly.

`read_picture` runs once a picture, when a data set is prepared or when a user's own picture is
described. `decode_picture` runs in graph and is the only decoder of training, evaluation and
export. Colour profiles are not applied.
"""

from __future__ import annotations

import io
import threading
import warnings

import numpy as np
import tensorflow as tf
from PIL import Image

from visem_tf.errors import UserError
from visem_tf.runtime.storage import AnyPath, PathLike, as_path, reason_of

MAX_PIXELS = 12_000 * 9_000
MAX_BYTES = 1 << 30
FORMATS = ("JPEG", "MPO", "PNG", "GIF", "WEBP", "TIFF", "BMP", "PPM", "AVIF")

_ORIENTATION_TAG = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_OPEN_LOCK = threading.Lock()


class PictureError(UserError):
    """A picture that cannot be used.

    Args:
        name: the picture's name, for the message.
        reason: why it cannot be used; kept as the attribute `reason`.
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.name = name
        self.reason = reason

    def __reduce__(self) -> tuple[type[PictureError], tuple[str, str]]:
        return PictureError, (self.name, self.reason)


def read_picture(source: PathLike | bytes, name: str | None = None) -> bytes:
    """Returns a picture as JPEG or PNG bytes that `decode_picture` reads rightly.

    An upright JPEG in colour or grey and an opaque 8-bit PNG in colour or grey come back unchanged.
    Every other picture becomes an upright, opaque 8-bit RGB PNG: CMYK, palettes, 1 and 16 bits,
    EXIF orientation, the first frame of an animation, WebP, TIFF, GIF, BMP, PPM and, where Pillow
    has it, AVIF. What is transparent shows white; 16 bits keep their upper 8.

    Args:
        source: a path on any storage, or the bytes of the file.
        name: what to call the picture in errors; by default the file's name.

    Returns:
        The encoded picture.

    Raises:
        PictureError: the file is missing, empty, truncated, broken or no picture, has more than
            12,000 x 9,000 pixels, or has 32-bit or floating-point pixels.

    Example:
        >>> buffer = io.BytesIO()
        >>> Image.new("CMYK", (3, 2)).save(buffer, "TIFF")
        >>> decode_picture(read_picture(buffer.getvalue(), "mine.tif")).shape
        TensorShape([2, 3, 3])
    """
    if name is None:
        name = "picture" if isinstance(source, bytes) else as_path(source).name
    data = source if isinstance(source, bytes) else read_file(as_path(source), name)
    if not data:
        raise PictureError(name, "the file is empty")
    try:
        with _open(data, name) as picture:
            unchanged = _may_pass(picture, data)
            if unchanged:
                # An eighth of the size each way: every byte is read, few pixels are computed.
                picture.draft("L", (1, 1))
                picture.load()
        if unchanged and _tensorflow_reads(data):
            return data
        with _open(data, name) as picture:
            return _as_png(picture, name)
    except PictureError:
        raise
    except Exception as error:  # a broken file makes Pillow's readers raise nearly anything
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise PictureError(name, f"broken picture ({reason})") from error


def decode_picture(encoded: tf.Tensor) -> tf.Tensor:
    """Decodes a JPEG or PNG in graph, to the pixels that Pillow gives.

    The exact inverse cosine transform is asked for: with TensorFlow's default one, colours differ
    by up to 50 levels from every other decoder.

    Args:
        encoded: scalar string, as from `read_picture`.

    Returns:
        uint8 [height, width, 3], red, green, blue.

    Raises:
        tf.errors.InvalidArgumentError: the bytes are no JPEG or PNG.
    """
    # Despite its name this operation reads PNG too.
    pixels = tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE")
    return tf.ensure_shape(pixels, [None, None, 3])


def read_file(path: AnyPath, name: str) -> bytes:
    """Returns the bytes of a file of a sane size.

    Args:
        path: the file.
        name: what to call it in errors.

    Raises:
        PictureError: it cannot be read, or has more than 1 GiB.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise PictureError(name, f"the file is larger than {MAX_BYTES:,} bytes")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        reason = reason_of(error) if isinstance(error, OSError) else str(error)
        raise PictureError(name, f"cannot be read ({reason})") from error


def _open(data: bytes, name: str) -> Image.Image:
    """Opens a picture without decoding it; refuses unknown formats and too many pixels."""
    Image.init()
    formats = [each for each in FORMATS if each in Image.OPEN]
    try:
        # Pillow warns from 89 million pixels on, which are allowed here. Warning filters belong to
        # the whole process, hence the lock.
        with _OPEN_LOCK, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            picture = Image.open(io.BytesIO(data), formats=formats)
    except Image.DecompressionBombError as error:
        raise PictureError(name, f"more than {MAX_PIXELS:,} pixels") from error
    except Image.UnidentifiedImageError as error:
        raise PictureError(name, f"no picture in a known format ({', '.join(formats)})") from error
    width, height = picture.size
    if width * height > MAX_PIXELS:
        picture.close()
        raise PictureError(name, f"{width} x {height} is more than {MAX_PIXELS:,} pixels")
    return picture


def _may_pass(picture: Image.Image, data: bytes) -> bool:
    """Says whether TensorFlow reads this picture as it is, going by its header."""
    if picture.mode not in ("RGB", "L") or _orientation(picture) != 1:
        return False
    if picture.format == "PNG":
        bit_depth = data[24]  # in the header block, which is always first
        return bit_depth == 8 and not picture.has_transparency_data and not _is_animated(picture)
    return picture.format in ("JPEG", "MPO")


def _tensorflow_reads(data: bytes) -> bool:
    """Says whether TensorFlow accepts the bytes: it is stricter than Pillow here and there."""
    try:
        tf.io.decode_jpeg(data, channels=3, ratio=8 if data[:2] == b"\xff\xd8" else 1)
    except tf.errors.InvalidArgumentError:
        return False
    return True


def _is_animated(picture: Image.Image) -> bool:
    return bool(getattr(picture, "is_animated", False))


def _orientation(picture: Image.Image) -> int:
    """Returns the EXIF orientation, 1 (upright) where there is none or it cannot be read."""
    try:
        orientation = picture.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # EXIF blocks are broken in any number of ways, and the pixels are still good
        return 1
    return orientation if orientation in _UPRIGHT else 1


def _as_png(picture: Image.Image, name: str) -> bytes:
    """Returns the first frame of a picture as an upright, opaque 8-bit RGB PNG."""
    picture.load()
    orientation = _orientation(picture)  # after loading: Pillow turns a TIFF by itself
    if picture.mode.startswith("I;16"):
        rgb = Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8)).convert("RGB")
    elif picture.mode in ("I", "F"):
        raise PictureError(name, "32-bit or floating-point pixels; save it with 8 or 16 bits")
    elif picture.has_transparency_data:
        transparent = picture.convert("RGBA")
        rgb = Image.new("RGB", picture.size, "white")
        rgb.paste(transparent, mask=transparent.getchannel("A"))
    else:
        rgb = picture.convert("RGB")
    if orientation != 1:
        rgb = rgb.transpose(_UPRIGHT[orientation])
    buffer = io.BytesIO()
    # Without `icc_profile` and the like, which `save` would copy from `rgb.info`.
    rgb.info.clear()
    rgb.save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()
