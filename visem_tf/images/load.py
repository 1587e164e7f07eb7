"""Loads images while the caller uses earlier ones: one by one, or a user's own in batches."""

import collections
import concurrent.futures
import contextlib
import itertools
import os
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from visem_tf.images.read import ImageError
from visem_tf.images.sources import ImageSource

_THREADS = min(8, os.cpu_count() or 1)

T = TypeVar("T")
R = TypeVar("R")


def read_ahead(
    items: Iterable[T], read: Callable[[T], R], threads: int = _THREADS, count: int = 2 * _THREADS
) -> Generator[tuple[T, concurrent.futures.Future[R]], None, None]:
    """Yields each item with the result of `read`, which threads compute a few items ahead.

    Memory does not grow with the number of items.

    Args:
        items: Images.
        read: Function of an item.
        threads: Number of threads.
        count: Number of items that are read while the caller uses the last one.
    """
    remaining = iter(items)
    queue: collections.deque[tuple[T, concurrent.futures.Future[R]]] = collections.deque()
    pool = concurrent.futures.ThreadPoolExecutor(threads)

    def submit(count: int) -> None:
        for item in itertools.islice(remaining, count):
            queue.append((item, pool.submit(read, item)))

    try:
        submit(count)
        while queue:
            submit(1)
            yield queue.popleft()
    finally:
        pool.shutdown(cancel_futures=bool(queue))  # unless the caller has them all


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

    def load(source: ImageSource) -> tuple[tuple[int, int], Any]:
        pixels = source.pixels()
        height, width, _ = pixels.shape
        return (width, height), prepare(pixels)

    with contextlib.closing(read_ahead(sources, load, 2, batch_size)) as loading:
        while batch := list(itertools.islice(loading, batch_size)):
            read = []
            for source, future in batch:
                try:
                    read.append((source, *future.result()))
                except ImageError as error:
                    if failures is None:
                        raise
                    # Without the traceback, whose frames hold the content of the file.
                    failures.append(ImageError(error.name, error.reason))
            if read:
                yield LoadedImages(*map(list, zip(*read, strict=True)))
