"""Loads a user's own images in batches, the next one while the caller uses the last one."""

import concurrent.futures
import sys
from collections.abc import Generator, Sequence
from typing import NamedTuple

import tensorflow as tf

from visem_tf.config import RegionsConfig
from visem_tf.errors import UserError
from visem_tf.images.decode import ImageError
from visem_tf.images.prepare import place_images
from visem_tf.images.sources import ImageSource

_THREADS = 2


class LoadedImages(NamedTuple):
    """A batch of images.

    Attributes:
        sources: The B images.
        sizes: Widths and heights of the upright images in pixels.
        pixels: float tensor [B, P, P, 3] in 0..255, as `place_images` returns them.
    """

    sources: list[ImageSource]
    sizes: list[tuple[int, int]]
    pixels: tf.Tensor


def load_images(
    sources: Sequence[ImageSource],
    settings: RegionsConfig,
    batch_size: int,
    failures: list[ImageError] | None = None,
) -> Generator[LoadedImages, None, None]:
    """Yields images in batches, and loads the next batch in the meantime.

    Args:
        sources: The images.
        settings: Section `regions` of the configuration: size and resolution of the images.
        batch_size: Largest number B of images in a batch.
        failures: List to which the errors of images that cannot be read are appended; if it is
            None, the first error is raised.

    Yields:
        Batches in the order of `sources`, without images that cannot be read; none is empty.

    Raises:
        ImageError: An image cannot be read, and there is no list of failures.
    """

    def load(source: ImageSource) -> tuple[tuple[int, int], tf.Tensor] | ImageError:
        try:
            pixels = source.pixels()
        except ImageError as error:
            return error
        height, width, _ = pixels.shape
        placed = place_images(tf.constant(pixels), settings.picture_size, settings.resolution)
        return (width, height), placed

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
                files, sizes, pixels = map(list, zip(*read, strict=True))
                yield LoadedImages(files, sizes, tf.stack(pixels))


def report_unreadable(failures: Sequence[ImageError]) -> None:
    """Warns of all images that could not be read but the last, which it raises as an error.

    Args:
        failures: Errors as `load_images` collects them.

    Raises:
        UserError: There is a failure.
    """
    for failure in failures[:-1]:
        print(f"visem_tf: warning: cannot read {failure}", file=sys.stderr)
    if failures:
        raise UserError(f"cannot read {failures[-1]}") from failures[-1]
