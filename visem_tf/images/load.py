"""Loads a user's own image files in batches, the next one while the caller uses the last one."""

import concurrent.futures
import sys
from collections.abc import Generator, Sequence
from typing import NamedTuple

import tensorflow as tf

from visem_tf.config import RegionsConfig
from visem_tf.errors import UserError
from visem_tf.images.decode import ImageError, read_image
from visem_tf.images.prepare import prepare_image
from visem_tf.runtime.storage import AnyPath

_THREADS = 2


class LoadedImages(NamedTuple):
    """A batch of images.

    Attributes:
        paths: Paths of the B files.
        encoded: The B images as `visem_tf.images.decode.read_image` returns them.
        pixels: float tensor [B, P, P, 3] in 0..255, as `prepare_image` returns them.
    """

    paths: list[AnyPath]
    encoded: list[bytes]
    pixels: tf.Tensor


def load_images(
    paths: Sequence[AnyPath],
    settings: RegionsConfig,
    batch_size: int,
    failures: list[ImageError],
) -> Generator[LoadedImages, None, None]:
    """Yields images in batches, and loads the next batch in the meantime.

    Args:
        paths: Paths of the files.
        settings: Section `regions` of the configuration: size and resolution of the images.
        batch_size: Largest number B of images in a batch.
        failures: List to which the errors of images that cannot be read are appended.

    Yields:
        Batches in the order of `paths`, without images that cannot be read; none is empty.
    """

    def load(path: AnyPath) -> tuple[bytes, tf.Tensor] | ImageError:
        try:
            encoded = read_image(path)
        except ImageError as error:
            return ImageError(str(path), error.reason)
        image = tf.constant(encoded)
        return encoded, prepare_image(image, settings.picture_size, settings.resolution)

    batches = [paths[start : start + batch_size] for start in range(0, len(paths), batch_size)]
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as threads:
        loading = [[threads.submit(load, path) for path in batch] for batch in batches[:2]]
        for number, batch in enumerate(batches):
            loaded = [
                (path, future.result()) for path, future in zip(batch, loading.pop(0), strict=True)
            ]
            for following in batches[number + 2 : number + 3]:
                loading.append([threads.submit(load, path) for path in following])
            failures += [result for _, result in loaded if isinstance(result, ImageError)]
            read = [(path, *result) for path, result in loaded if isinstance(result, tuple)]
            if read:
                files, encoded, pixels = map(list, zip(*read, strict=True))
                yield LoadedImages(files, encoded, tf.stack(pixels))


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
