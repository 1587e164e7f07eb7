"""TensorFlow's errors of a full disk, which it reports as other errors."""

import contextlib
import errno
import os
from collections.abc import Iterator

import tensorflow as tf


@contextlib.contextmanager
def report_full_disk(place: str | os.PathLike[str] | None = None) -> Iterator[None]:
    """Turns an error of TensorFlow that a disk is full into the one that Python raises.

    Args:
        place: File or folder that is written in the block, for the message.

    Raises:
        OSError: The disk, or the user's part of it, is full.
    """
    try:
        yield
    except tf.errors.OpError as error:
        for number in (errno.ENOSPC, errno.EDQUOT):
            if (reason := os.strerror(number)) in str(error):
                file = None if place is None else str(place)
                raise OSError(number, reason, file) from error
        raise
