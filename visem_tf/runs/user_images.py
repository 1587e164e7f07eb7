"""Regions of images that a user names: proposed, given, or from the cache."""

import contextlib
from collections.abc import Callable, Generator, Sequence

import numpy as np
import tensorflow as tf

from visem_tf.images.load import load_images
from visem_tf.images.prepare import place_images
from visem_tf.images.read import ImageError
from visem_tf.images.sources import ImageSource
from visem_tf.regions.extractor import Regions, feature_dim
from visem_tf.regions.image_cache import ImageCache, image_cache_folder, image_key
from visem_tf.runs.trained_run import TrainedRun
from visem_tf.runtime.progress import progress_bar
from visem_tf.runtime.storage import PathLike, as_path, reason_of
from visem_tf.runtime.working_copy import working_copy

SHARD_SIZE = 256
"""Images that are cached and read together."""

Batches = Generator[tuple[list[ImageSource], Regions], None, None]
"""Batches of B images with their regions, which are NumPy arrays."""

BoxesOf = Callable[[ImageSource, tuple[int, int]], np.ndarray]
"""Function that returns the boxes [N, 4], `rel_yxyx`, of an image of a width and a height."""


def extract_regions(
    run: TrainedRun,
    sources: Sequence[ImageSource],
    failures: list[ImageError] | None = None,
    boxes_of: BoxesOf | None = None,
) -> Batches:
    """Yields batches of images with their regions, and shows the progress.

    Args:
        run: Run whose CNN extracts the features.
        sources: The images.
        failures: List to which the errors of images that cannot be read are appended; if it is
            None, the first error is raised.
        boxes_of: Boxes to use instead of proposed ones.

    Raises:
        ImageError: An image cannot be read, and there is no list of failures.
    """
    settings = run.config.regions
    batch_size = settings.batch_size if boxes_of is None else 1

    def place(pixels: np.ndarray) -> tf.Tensor:
        return place_images(tf.constant(pixels), settings.picture_size, settings.resolution)

    with (
        contextlib.closing(load_images(sources, place, batch_size, failures)) as batches,
        progress_bar(len(sources), "regions", "images") as bar,
    ):
        for images in batches:
            pixels = tf.stack(images.prepared)
            if boxes_of is None:
                regions = run.extractor.extract_pixels(pixels)
            else:
                [source], [size] = images.sources, images.sizes
                regions = run.box_extractor(pixels, [boxes_of(source, size)])
            bar.clear()
            yield images.sources, regions
            bar.update(len(images.sources))


def cached_regions(
    run: TrainedRun,
    sources: Sequence[ImageSource],
    failures: list[ImageError] | None,
    cache_dir: PathLike,
) -> Batches:
    """Yields batches of images with their regions, from the cache where it has them.

    Args:
        run: Run whose CNN extracts the features.
        sources: Image files.
        failures: List to which the errors of images that cannot be read are appended; if it is
            None, the first error is raised.
        cache_dir: Folder of all caches.

    Raises:
        ImageError: An image cannot be read, and there is no list of failures.
    """
    folder = image_cache_folder(as_path(cache_dir), run.config.regions, run.run.region_weights)
    cache = ImageCache(working_copy(folder), feature_dim(run.config.regions))
    keys = image_keys(sources, failures)
    missing = [source for source, key in keys.items() if key not in cache]

    def store(images: list[ImageSource], *regions: np.ndarray) -> None:
        cache.add([keys[source] for source in images], Regions(*regions))

    with Blocks(store, SHARD_SIZE) as blocks:
        for images, regions in extract_regions(run, missing, failures):
            blocks.add(images, *regions)
    readable = [source for source, key in keys.items() if key in cache]
    for start in range(0, len(readable), SHARD_SIZE):
        block = readable[start : start + SHARD_SIZE]
        yield block, cache.gather([keys[source] for source in block])


def image_keys(
    sources: Sequence[ImageSource], failures: list[ImageError] | None
) -> dict[ImageSource, bytes]:
    """Returns the keys of image files, see `visem_tf.regions.image_cache.image_key`.

    Args:
        sources: Image files.
        failures: List to which the errors of missing files are appended; if it is None, the first
            error is raised.

    Raises:
        ImageError: A file is missing, and there is no list of failures.
    """
    keys: dict[ImageSource, bytes] = {}
    for source in sources:
        try:
            assert source.path is not None
            keys[source] = image_key(source.path)
        except OSError as error:
            failure = ImageError(source.name, f"cannot be read ({reason_of(error)})")
            if failures is None:
                raise failure from error
            failures.append(failure)
    return keys


class Blocks:
    """Collects batches of images, and stores them in blocks.

    Used in `with`, it also stores the rest, after an interruption too.

    Args:
        store: Function of a list of images and arrays with a row for each.
        size: Number of images from which on a block is stored.
    """

    def __init__(self, store: Callable[..., None], size: int) -> None:
        self._store = store
        self._size = size
        self._images: list[ImageSource] = []
        self._batches: list[tuple[np.ndarray, ...]] = []

    def add(self, images: Sequence[ImageSource], *arrays: np.ndarray) -> None:
        """Adds a batch of images, and stores a block if there are enough."""
        self._images += images
        self._batches.append(arrays)
        if len(self._images) >= self._size:
            self._store_block()

    def __enter__(self) -> "Blocks":
        return self

    def __exit__(self, *exception: object) -> None:
        if self._images:
            self._store_block()

    def _store_block(self) -> None:
        images, batches = self._images, self._batches
        self._images, self._batches = [], []  # a block that cannot be stored is not tried again
        self._store(images, *map(np.concatenate, zip(*batches, strict=True)))
