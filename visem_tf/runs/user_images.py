"""Regions of image files that a user names: proposed, given in a file, or from the cache."""

import contextlib
import io
import sys
from collections.abc import Generator, Sequence

import numpy as np
import tqdm
from PIL import Image

from visem_tf.images.decode import ImageError
from visem_tf.images.load import LoadedImages, load_images, report_unreadable
from visem_tf.regions.extractor import Regions
from visem_tf.regions.given_boxes import GivenBoxes
from visem_tf.regions.image_cache import ImageCache, image_cache_folder, image_key
from visem_tf.runs.trained_run import TrainedRun
from visem_tf.runtime.storage import AnyPath, as_path, reason_of
from visem_tf.runtime.working_copy import working_copy

_SHARD = 256


def extract_regions(
    run: TrainedRun,
    paths: Sequence[AnyPath],
    failures: list[ImageError],
    boxes: GivenBoxes | None = None,
) -> Generator[tuple[LoadedImages, Regions], None, None]:
    """Yields batches of images with their regions, and shows the progress.

    Args:
        run: Run whose CNN extracts the features.
        paths: Paths of the images.
        failures: List to which the errors of images that cannot be read are appended.
        boxes: Boxes to use instead of proposed ones.
    """
    settings = run.config.regions
    batch_size = settings.batch_size if boxes is None else 1
    with (
        contextlib.closing(load_images(paths, settings, batch_size, failures)) as batches,
        tqdm.tqdm(
            total=len(paths), desc="regions", unit=" images", disable=None, leave=False, delay=1
        ) as bar,
    ):
        for images in batches:
            if boxes is None:
                regions = run.extractor.extract_pixels(images.pixels)
            else:
                path, size = images.paths[0], Image.open(io.BytesIO(images.encoded[0])).size
                if not boxes.has(path):
                    warning = f"visem_tf: warning: {boxes.source} has no boxes for {path}"
                    print(warning, file=sys.stderr)
                regions = run.box_extractor(images.pixels, [boxes.of(path, size)])
            bar.clear()
            yield images, regions
            bar.update(len(images.paths))


def cached_regions(
    run: TrainedRun, paths: Sequence[AnyPath], failures: list[ImageError]
) -> tuple[list[AnyPath], Regions]:
    """Reads the regions of images from the cache directory, and extracts those that are missing.

    Args:
        run: Run whose CNN extracts the features.
        paths: Paths of the images.
        failures: List to which the errors of images that cannot be read are appended.

    Returns:
        The paths of the images that can be read, and their regions in the same order.

    Raises:
        UserError: No image can be read.
    """
    settings = run.config.regions
    folder = image_cache_folder(as_path(run.config.cache_dir), settings, run.run.region_weights)
    cache = ImageCache(working_copy(folder))
    keys: dict[AnyPath, bytes] = {}
    for path in paths:
        try:
            keys[path] = image_key(path)
        except OSError as error:
            failures.append(ImageError(str(path), f"cannot be read ({reason_of(error)})"))
    new_keys: list[bytes] = []
    new_regions: list[Regions] = []

    def store() -> None:
        if new_keys:
            parts = zip(*new_regions, strict=True)
            cache.add(new_keys, Regions(*(np.concatenate(part) for part in parts)))
            new_keys.clear()
            new_regions.clear()

    try:
        missing = [path for path, key in keys.items() if key not in cache]
        for images, regions in extract_regions(run, missing, failures):
            new_keys += [keys[path] for path in images.paths]
            new_regions.append(regions)
            if len(new_keys) >= _SHARD:
                store()
    finally:  # keep the regions that were extracted before an interruption
        store()
    readable = [path for path, key in keys.items() if key in cache]
    if not readable:
        report_unreadable(failures)
    return readable, cache.gather([keys[path] for path in readable])
