"""Regions of images that a user names: proposed, given, or from the cache."""

import contextlib
from collections.abc import Callable, Generator, Sequence

import numpy as np

from visem_tf.images.decode import ImageError
from visem_tf.images.load import load_images
from visem_tf.images.sources import ImageSource
from visem_tf.regions.extractor import Regions, feature_dim
from visem_tf.regions.image_cache import ImageCache, image_cache_folder, image_key
from visem_tf.runs.trained_run import TrainedRun
from visem_tf.runtime.progress import progress_bar
from visem_tf.runtime.storage import PathLike, as_path, reason_of
from visem_tf.runtime.working_copy import working_copy

_SHARD = 256

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
    with (
        contextlib.closing(load_images(sources, settings, batch_size, failures)) as batches,
        progress_bar(len(sources), "regions", "images") as bar,
    ):
        for images in batches:
            if boxes_of is None:
                regions = run.extractor.extract_pixels(images.pixels)
            else:
                [source], [size] = images.sources, images.sizes
                regions = run.box_extractor(images.pixels, [boxes_of(source, size)])
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
    missing = [source for source, key in keys.items() if key not in cache]
    new_keys: list[bytes] = []
    new_regions: list[Regions] = []

    def store() -> None:
        if new_keys:
            parts = zip(*new_regions, strict=True)
            cache.add(new_keys, Regions(*(np.concatenate(part) for part in parts)))
            new_keys.clear()
            new_regions.clear()

    try:
        for images, regions in extract_regions(run, missing, failures):
            new_keys += [keys[source] for source in images]
            new_regions.append(regions)
            if len(new_keys) >= _SHARD:
                store()
    finally:  # keep the regions that were extracted before an interruption
        store()
    readable = [source for source, key in keys.items() if key in cache]
    for start in range(0, len(readable), _SHARD):
        block = readable[start : start + _SHARD]
        yield block, cache.gather([keys[source] for source in block])
