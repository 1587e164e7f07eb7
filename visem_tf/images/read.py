"""Image files to pixels in Python: opened by Pillow, upright and without transparency.

It needs no TensorFlow; `visem_tf.images.decode` decodes in graph. Colour profiles are not applied.
"""

from __future__ import annotations

import contextlib
import io
import re
import threading
import warnings
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image

from visem_tf.errors import UserError
from visem_tf.runtime.storage import AnyPath, FilePart, PathLike, as_path, read_regular, reason_of
from visem_tf.runtime.streams import warn

MAX_PIXELS = 12_000 * 9_000
MAX_BYTES = 4 * MAX_PIXELS
"""Bytes of the largest image without compression, with 8 bits for each of four channels. Larger
files are refused before they are read."""
FORMATS = ("JPEG", "MPO", "PNG", "GIF", "WEBP", "TIFF", "BMP", "PPM", "AVIF", "HEIF")

ORIENTATION_TAG = 0x0112
"""Number of the orientation among the entries of an EXIF block."""
_TRANSPOSES = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
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


def read_file(path: AnyPath, name: str, part: FilePart | None = None) -> bytes:
    """Returns the bytes of a file of at most `MAX_BYTES`.

    Args:
        path: Path of the file.
        name: Name of the file in errors.
        part: Part of the file to read, an image in an archive; None reads the whole file.

    Raises:
        ImageError: The file cannot be read, or is larger.
    """
    try:
        if (path.stat().st_size if part is None else part.size) > MAX_BYTES:
            raise ImageError(name, f"the file is larger than {MAX_BYTES:,} bytes")
        return read_regular(path, part)
    except (OSError, ValueError) as error:
        raise ImageError(name, f"cannot be read ({reason_of(error)})") from error


@contextlib.contextmanager
def open_image(data: bytes, name: str) -> Iterator[Image.Image]:
    """Opens an image, which is decoded when its pixels are first used.

    Args:
        data: Content of the file.
        name: Name of the image in errors.

    Raises:
        ImageError: The file is empty or not an image, has too many pixels, or is found to be
            damaged in the block.
    """
    if not data:
        raise ImageError(name, "the file is empty")
    try:
        with _open(data, name) as image:
            yield image
    except ImageError:
        raise
    except Exception as error:  # Pillow raises nearly any exception for a damaged file
        raise ImageError(name, f"damaged image ({reason_of(error)})") from error


def read_pixels(source: PathLike | bytes, name: str) -> np.ndarray:
    """Reads an image of any format that `visem_tf.images.decode.read_image` reads, in Python.

    Args:
        source: Path on any storage, or the bytes of the file.
        name: Name of the image in errors.

    Returns:
        uint8 array [H, W, 3], red, green, blue, upright; the pixels that `decode_image` decodes.

    Raises:
        ImageError: The image cannot be used, see `read_image`.
    """
    data = source if isinstance(source, bytes) else read_file(as_path(source), name)
    with open_image(data, name) as image:
        if image.format == "PNG":
            image.verify()  # compares checksums, as TensorFlow does; the image must be opened again
    with open_image(data, name) as image:
        return np.asarray(upright_rgb(image, name))


def report_unreadable(failures: Sequence[ImageError]) -> None:
    """Warns of all images that could not be read but the last, which it raises as an error.

    Args:
        failures: Errors of images.

    Raises:
        UserError: There is a failure.
    """
    for failure in failures[:-1]:
        warn(f"cannot read {failure}")
    if failures:
        raise UserError(f"cannot read {failures[-1]}") from failures[-1]


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


def orientation_of(image: Image.Image) -> int:
    """Returns the EXIF orientation of an image, 1..8; 1 (upright) if it is missing or invalid."""
    try:
        orientation = image.getexif().get(ORIENTATION_TAG, 1)
    except Exception:  # Pillow raises many kinds for damaged EXIF data; the pixels are still good
        return 1
    return orientation if orientation in _TRANSPOSES else 1


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
    return rgb.transpose(_TRANSPOSES[orientation]) if orientation != 1 else rgb


def _upper_8_bits(grey: np.ndarray) -> np.ndarray:
    """Returns the upper 8 of the bits that are in use: X-rays have 10, 12 or 14 of the 16 bits.

    Args:
        grey: Unsigned 16-bit array [H, W].
    """
    largest = int(grey.max())
    bits = next(bits for bits in (8, 10, 12, 14, 16) if largest < 1 << bits)
    return (grey >> (bits - 8)).astype(np.uint8)
