"""Loads a user's own images in batches, the next one while the caller uses the last one."""

import concurrent.futures
from collections.abc import Callable, Generator, Sequence
from typing import Any, NamedTuple

import numpy as np

from visem_tf.images.read import ImageError
from visem_tf.images.sources import ImageSource

_THREADS = 2


class LoadedImages(NamedTuple):
    """A batch of images.

    Attributes:
        sources: The B images.
        sizes: Widths and heights of the upright images in pixels.
        prepared: What `prepare` of `load_images` has returned for each.
    """

    sources: list[ImageSource]
    sizes: list[tuple[int, int]]
    prepared: list[Any]


def load_images(
    sources: Sequence[ImageSource],
    prepare: Callable[[np.ndarray], Any],
    batch_size: int,
    failures: list[ImageError] | None = None,
) -> Generator[LoadedImages, None, None]:
    """Yields images in batches, and loads the next batch in the meantime.

    Args:
        sources: The images.
        prepare: Function of the pixels of an image, uint8 [H, W, 3], that is called in threads.
        batch_size: Largest number B of images in a batch.
        failures: List to which the errors of images that cannot be read are appended; if it is
            None, the first error is raised.

    Yields:
        Batches in the order of `sources`, without images that cannot be read; none is empty.

    Raises:
        ImageError: An image cannot be read, and there is no list of failures.
    """

    def load(source: ImageSource) -> tuple[tuple[int, int], Any] | ImageError:
        try:
            pixels = source.pixels()
        except ImageError as error:
            # Frames of the traceback hold the content of the file, and a list would keep them all.
            return error if failures is None else ImageError(error.name, error.reason)
        height, width, _ = pixels.shape
        return (width, height), prepare(pixels)

    batches = [sources[start : start + batch_size] for start in range(0, len(sources), batch_size)]
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as threads:
        loading = [[threads.submit(load, source) for source in batch] for batch in batches[:2]]
        for number, batch in enumerate(batches):
            loaded = [
                (source, future.result())
                for source, future in zip(batch, loading.pop(0), strict=True)
            ]
            for following in batches[number + 2 : number + 3]:
                loading.append([threads.submit(load, source) for source in following])
            failed = [result for _, result in loaded if isinstance(result, ImageError)]
            if failures is None and failed:
                raise failed[0]
            if failures is not None:
                failures += failed
            read = [(source, *result) for source, result in loaded if isinstance(result, tuple)]
            if read:
                yield LoadedImages(*map(list, zip(*read, strict=True)))
