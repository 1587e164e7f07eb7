"""Region features in NumPy arrays, which may stay on disk."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from visem_tf.datasets.records import RegionBlock, with_frame
from visem_tf.errors import UserError
from visem_tf.runtime.storage import AnyPath, readable

_IMAGES_AT_A_TIME = 64


class ArrayRegions:
    """The regions of a split, from an array with a row for each image.

    A vector for each image [N, F] is the feature of the whole image. Of several vectors [N, R, F]
    the boxes are not known; their mean represents the whole image, and vectors of zeros are
    padding.

    Args:
        array: Features [N, F] or [N, R, F].
        rows: Rows of the images of the split, int [I].
    """

    def __init__(self, array: np.ndarray, rows: np.ndarray) -> None:
        self.array = array
        self.rows = rows
        self.has_boxes = array.ndim == 2

    def blocks(self, start: int) -> Iterator[RegionBlock]:
        """Yields the regions of the images from a position on."""
        for first in range(start, len(self.rows), _IMAGES_AT_A_TIME):
            rows = self.rows[first : first + _IMAGES_AT_A_TIME]
            features = np.asarray(self.array[rows], np.float32)
            if self.has_boxes:
                frame = np.broadcast_to(np.array([0, 0, 1, 1], np.float32), (len(rows), 1, 4))
                yield RegionBlock(features[:, np.newaxis], frame, np.ones((len(rows), 1), bool))
            else:
                yield with_frame(features, None, np.any(features != 0, axis=2))


def open_array(path: AnyPath) -> np.ndarray:
    """Opens a .npy file, on local storage without reading it into memory.

    Raises:
        UserError: The file cannot be read.
    """
    is_local = isinstance(path, Path)
    try:
        return np.load(readable(path), mmap_mode="r" if is_local else None, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"cannot read {path} as a NumPy array ({error})") from error
