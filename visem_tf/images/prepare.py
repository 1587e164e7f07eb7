"""The user's own pictures, read a batch ahead; which files are meant says `picture_files`."""

import concurrent.futures
import itertools
import sys
from collections.abc import Generator, Sequence
from typing import NamedTuple

import tensorflow as tf

from visem_tf.config import RegionsConfig
from visem_tf.errors import UserError
from visem_tf.images.decode import PictureError, read_picture
from visem_tf.regions.extractor import prepare_picture
from visem_tf.runtime.storage import AnyPath

_READERS = 2


class OwnPictures(NamedTuple):
    """Some pictures that were read.

    Attributes:
      paths: B files.
      encoded: B pictures, as `visem_tf.images.decode.read_picture` gives them.
      pixels: float [B, P, P, 3] in 0..255.
    """

    paths: list[AnyPath]
    encoded: list[bytes]
    pixels: tf.Tensor


def read_pictures(
    paths: Sequence[AnyPath],
    settings: RegionsConfig,
    batch_size: int,
    failures: list[PictureError],
) -> Generator[OwnPictures, None, None]:
    """Reads pictures in batches, the next one while the caller is busy with this one.

    Args:
      paths: The files.
      settings: What `prepare_picture` brings each to, its size and resolution.
      batch_size: B, at most.
      failures: Is given the errors of those that cannot be read.

    Yields:
      Batches in the order of `paths`, without those that cannot be read; no empty ones.
    """
    batches = [paths[start : start + batch_size] for start in range(0, len(paths), batch_size)]
    with concurrent.futures.ThreadPoolExecutor(_READERS) as readers:
        waiting = iter(batches)
        ahead = [
            [readers.submit(_read, path, settings) for path in batch]
            for batch in itertools.islice(waiting, 2)
        ]
        for batch in batches:
            files, encoded, pixels = [], [], []
            for path, reading in zip(batch, ahead.pop(0), strict=True):
                try:
                    picture = reading.result()
                except PictureError as error:
                    failures.append(PictureError(str(path), error.reason))
                    continue
                files.append(path)
                encoded.append(picture[0])
                pixels.append(picture[1])
            following = next(waiting, [])
            ahead.append([readers.submit(_read, path, settings) for path in following])
            if files:
                yield OwnPictures(files, encoded, tf.stack(pixels))


def report_unreadable(failures: Sequence[PictureError]) -> None:
    """Warns of all pictures that could not be read but the last, which is raised as an error.

    Args:
      failures: As `read_pictures` collects them.

    Raises:
      UserError: There is a failure.
    """
    for failure in failures[:-1]:
        print(f"visem_tf: warning: cannot read {failure}", file=sys.stderr)
    if failures:
        raise UserError(f"cannot read {failures[-1]}") from failures[-1]


def _read(path: AnyPath, settings: RegionsConfig) -> tuple[bytes, tf.Tensor]:
    encoded = read_picture(path)
    pixels = prepare_picture(tf.constant(encoded), settings.picture_size, settings.resolution)
    return encoded, pixels
