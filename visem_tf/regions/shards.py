"""Shards of cached regions: arrays of records on disk, which are checked when they are opened."""

from __future__ import annotations

import abc
import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from visem_tf.errors import UserError
from visem_tf.regions.extractor import Regions

_EXPONENT = 0x7C00  # of a number in 16 bits; all its bits are 1 in NaN and infinity


class Shards(abc.ABC):
    """N records in files of equal size, each of which is mapped into memory when it is first read.

    Args:
        folder: Folder of the files.
        count: N.
        per_shard: Number of records in a file; the last one has fewer.
    """

    stage: ClassVar[str]
    """Stage that writes the files, for messages."""

    def __init__(self, folder: Path, count: int, per_shard: int) -> None:
        self.folder = folder
        self.count = count
        self.per_shard = per_shard
        self._opened: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return self.count

    @abc.abstractmethod
    def path(self, shard: int) -> Path:
        """Returns the file of a shard."""

    @abc.abstractmethod
    def read(self, path: Path) -> np.ndarray | None:
        """Opens and checks the records of a file; returns None if it is missing or damaged.

        Raises:
            OSError: The file cannot be read, or too many are open.
        """

    @property
    def num_shards(self) -> int:
        """Number of shards in all."""
        return -(-self.count // self.per_shard)

    def shard_size(self, shard: int) -> int:
        """Returns the number of records of a shard."""
        return min(self.per_shard, self.count - shard * self.per_shard)

    def missing(self) -> list[int]:
        """Returns the shards that do not exist yet, or are damaged."""
        return [shard for shard in range(self.num_shards) if self._open(shard) is None]

    def records(self, shard: int) -> np.ndarray:
        """Returns the records of a shard, mapped into memory.

        Raises:
            UserError: The shard is missing or damaged.
        """
        records = self._open(shard)
        if records is None:
            path = self.path(shard)
            raise UserError(f"{path} is missing or damaged; run the stage {self.stage}")
        return records

    def by_shard(
        self, positions: Sequence[int] | np.ndarray
    ) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Yields which positions are in a shard, the records of the shard, and the rows of these.

        Raises:
            UserError: A shard is missing or damaged.
        """
        shards, rows = np.divmod(np.asarray(positions), self.per_shard)
        for shard in np.unique(shards):
            chosen = np.flatnonzero(shards == shard)
            yield chosen, self.records(int(shard)), rows[chosen]

    def records_at(self, positions: Sequence[int] | np.ndarray) -> np.ndarray:
        """Returns the records at B positions.

        Raises:
            UserError: A shard is missing or damaged.
        """
        found = np.empty(len(positions), self.records(0).dtype)
        for chosen, records, rows in self.by_shard(positions):
            found[chosen] = records[rows]
        return found

    def _open(self, shard: int) -> np.ndarray | None:
        if shard not in self._opened:
            records = self.read(self.path(shard))
            if records is None or records.shape != (self.shard_size(shard),):
                return None
            if any(records.dtype != other.dtype for other in self._opened.values()):
                return None
            self._opened[shard] = records
        return self._opened[shard]


def consecutive(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Yields the first and last of every maximal run of consecutive numbers.

    Example:
        >>> list(consecutive([0, 1, 2, 5]))
        [(0, 2), (5, 5)]
    """
    for _, run in itertools.groupby(enumerate(numbers), lambda pair: pair[1] - pair[0]):
        members = [number for _, number in run]
        yield members[0], members[-1]


def record_fields(
    num_regions: int, feature_dim: int, *, names: Sequence[str] = Regions._fields
) -> list[tuple]:
    """Returns the fields of a record as NumPy's structured types; features have 16 bits.

    Args:
        num_regions: R.
        feature_dim: Size of a vector.
        names: Names of the vectors, the boxes, the scores and the mask of the regions.
    """
    types = (
        ("<f2", (num_regions, feature_dim)),
        ("<f4", (num_regions, 4)),
        ("<f4", (num_regions,)),
        ("?", (num_regions,)),
    )
    return [(name, *of_name) for name, of_name in zip(names, types, strict=True)]


def as_records(fields: list[tuple], parts: Iterable[Any]) -> np.ndarray:
    """Returns arrays [B, ...], one for each field, as records [B]."""
    parts = list(parts)
    records = np.empty(len(parts[0]), fields)
    for (name, *_), part in zip(fields, parts, strict=True):
        records[name] = part
    return records


def as_regions(records: np.ndarray) -> Regions:
    """Returns the regions in records [B] as NumPy arrays; features in float32."""
    features = records["region_features"].astype(np.float32)
    return Regions(features, records["boxes"], records["scores"], records["region_mask"])


def open_records(path: Path, feature_dim: int | None = None) -> np.ndarray | None:
    """Opens a shard, mapped into memory, and checks all that it contains.

    Args:
        path: The `.npy` file.
        feature_dim: F, the size that feature vectors must have; None allows any.

    Returns:
        Records [B] with the fields of `Regions`, and others; None if the file is missing, is not
        whole, or contains NaN, infinity, another size, or an image without a region.

    Raises:
        OSError: The file cannot be read, or too many are open.
    """
    records = open_array(path)
    if records is None:
        return None
    names = records.dtype.names or ()
    if records.ndim != 1 or names[-len(Regions._fields) :] != Regions._fields:
        return None
    shape = records.dtype["region_features"].shape
    if len(shape) != 2 or feature_dim not in (None, shape[1]):
        return None
    expected = np.dtype(record_fields(*shape))
    if any(records.dtype[name] != expected[name] for name in Regions._fields):
        return None
    return records if is_sound(records) else None


def open_array(path: Path) -> np.ndarray | None:
    """Opens an `.npy` file, mapped into memory; returns None if it is missing or not whole.

    Raises:
        OSError: The file cannot be read, or too many are open. It may be whole.
    """
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError, EOFError):
        return None
    except OSError as error:
        error.filename = str(path)  # an error of mapping names no file
        raise


def is_finite(halves: np.ndarray) -> bool:
    """Returns whether an array of 16-bit floats has neither NaN nor infinity."""
    bits = halves.view(np.uint16)  # a fifth of the time of `isfinite`
    return not ((bits & _EXPONENT) == _EXPONENT).any()


def is_sound(records: np.ndarray, names: Sequence[str] = Regions._fields) -> bool:
    """Returns whether records of regions have finite numbers only, and every image a region.

    Args:
        records: Records [B].
        names: Names of the fields, see `record_fields`.
    """
    vectors, boxes, scores, mask = (records[name] for name in names)
    return bool(
        mask.any(axis=1).all()
        and np.isfinite(boxes).all()
        and np.isfinite(scores).all()
        and is_finite(vectors)
    )
