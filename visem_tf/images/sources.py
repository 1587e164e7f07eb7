"""Images as a user gives them: paths, bytes, PIL images, arrays, and lists of these."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image
from upath import UPath

from visem_tf.images.find import find_images
from visem_tf.images.read import ImageError, read_pixels, upright_rgb
from visem_tf.runtime.storage import AnyPath, PathLike, as_path

_ACCEPTED = "a path, bytes, a PIL image, an array [H, W, 3], or a list of these"


@dataclass(frozen=True, eq=False)
class ImageSource:
    """An image that is read when it is needed.

    Attributes:
        name: Path of the image, or its position among the images that were given.
        content: Path, bytes of a file, PIL image or array [H, W, 3].
    """

    name: str
    content: AnyPath | bytes | Image.Image | np.ndarray

    @property
    def path(self) -> AnyPath | None:
        """Path of the image; None if it is not a file."""
        return self.content if isinstance(self.content, os.PathLike | UPath) else None

    def pixels(self) -> np.ndarray:
        """Reads the image.

        Returns:
            uint8 array [H, W, 3], red, green, blue, upright.

        Raises:
            ImageError: The image cannot be read, or has values that are not those of an image.
        """
        if isinstance(self.content, np.ndarray):
            return _as_bytes(self.content, self.name)
        if isinstance(self.content, Image.Image):
            return np.asarray(upright_rgb(self.content, self.name))
        return read_pixels(self.content, self.name)

    def image(self) -> Image.Image:
        """Reads the image as an upright PIL image in RGB; see `pixels`."""
        return Image.fromarray(self.pixels())


def path_sources(paths: Sequence[AnyPath]) -> list[ImageSource]:
    """Returns the images of paths."""
    return [ImageSource(str(path), path) for path in paths]


def as_sources(images: Any) -> tuple[list[ImageSource], bool]:
    """Returns the images that a caller of a function has given.

    Args:
        images: Path, bytes, PIL image or array [H, W, 3] of uint8 or of floats in 0..1; a list of
            these; an array [B, H, W, 3]; or a folder, which stands for its images.

    Returns:
        The images, and whether a list or folder was given.

    Raises:
        ValueError: There is no image, or an image has another type or shape.
        UserError: A path does not exist, or a folder has no image.

    Example:
        >>> [source], is_list = as_sources(np.zeros([2, 3, 3]))
        >>> source.pixels().shape, is_list
        ((2, 3, 3), False)
    """
    if isinstance(images, str | os.PathLike | UPath):
        path = as_path(images)
        return path_sources(find_images([images])), path.is_dir()
    if hasattr(images, "__array__") and not isinstance(images, Image.Image):
        images = np.asarray(images)
        if images.ndim == 4:
            images = list(images)
    if not isinstance(images, list | tuple):
        return [_source(images, "the image")], False
    if not images:
        raise ValueError("images is empty; give at least one image")
    return [_source(image, f"images[{n}]") for n, image in enumerate(images)], True


def _source(image: PathLike | Any, name: str) -> ImageSource:
    if isinstance(image, str | os.PathLike | UPath):
        path = as_path(image)
        return ImageSource(str(path), path)
    if isinstance(image, bytes | bytearray | memoryview):
        return ImageSource(name, bytes(image))
    if isinstance(image, Image.Image):
        return ImageSource(name, image)
    if not hasattr(image, "__array__"):
        raise ValueError(f"{name} must be {_ACCEPTED}, not {type(image).__name__}")
    array = np.asarray(image)
    if array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
        raise ValueError(f"{name} must be an array [H, W, 3], not of shape {list(array.shape)}")
    if array.dtype != np.uint8 and array.dtype.kind != "f":
        raise ValueError(
            f"{name} must be an array of uint8 in 0..255 or of floats in 0..1, not of {array.dtype}"
        )
    return ImageSource(name, array)


def _as_bytes(array: np.ndarray, name: str) -> np.ndarray:
    """The pixels of an array in 0..255."""
    if array.dtype == np.uint8:
        return array
    low, high = float(np.min(array)), float(np.max(array))
    if not np.isfinite(high - low):
        raise ImageError(name, "the array contains NaN or infinity")
    if low < 0 or high > 1:
        raise ImageError(
            name,
            f"floats are read as 0..1, and the array reaches from {low:g} to {high:g}; bring it to "
            "this range, or give uint8 in 0..255",
        )
    return np.round(array * 255).astype(np.uint8)
