"""Maps of the frozen CNN for views of images, on disk, because a training reads them often."""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from visem_tf.errors import UserError
from visem_tf.regions.backbone import Backbone, Maps
from visem_tf.regions.dataset_cache import consecutive
from visem_tf.runtime.files import save_array
from visem_tf.runtime.pipelines import prefetched
from visem_tf.runtime.progress import progress_bar

_SHARD_SIZE = 64


class MapCache:
    """The maps of N images in 16 bits, in shards that are written whole or not at all.

    Args:
        folder: Folder of all caches; this one has its own folder in it.
        key: Everything that the maps depend on, in JSON's types.
        count: N.
    """

    def __init__(self, folder: Path, key: Mapping[str, Any], count: int) -> None:
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
        self.folder = folder / digest
        self.count = count
        self.num_shards = -(-count // _SHARD_SIZE)
        self._shards: dict[int, np.ndarray] = {}

    def fill(
        self,
        pixels_from: Callable[[int], tf.data.Dataset],
        backbone: Backbone,
        batch_size: int,
        description: str,
    ) -> None:
        """Computes the shards that are missing or damaged.

        Args:
            pixels_from: Returns the pixels float [P, P, 3] of all images from a position on.
            backbone: CNN that computes the maps.
            batch_size: Images in one pass of the CNN, at most 64.
            description: Label of the progress bar.
        """
        compute = tf.function(backbone.maps, reduce_retracing=True)
        missing = [shard for shard in range(self.num_shards) if self._open(shard) is None]
        total = sum(map(self._shard_size, missing))
        with progress_bar(total, description, "images") as bar:
            for first, last in consecutive(missing):
                batches = prefetched(pixels_from(first * _SHARD_SIZE).batch(_SHARD_SIZE), 1)
                shards = range(first, last + 1)
                for shard, pixels in zip(shards, batches.take(len(shards)), strict=True):
                    parts = [
                        compute(pixels[row : row + batch_size])
                        for row in range(0, len(pixels), batch_size)
                    ]
                    maps = [np.concatenate(part) for part in zip(*parts, strict=True)]
                    save_array(self._path(shard), _records(Maps(*maps)))
                    bar.update(len(pixels))

    def gather(self, positions: np.ndarray) -> Maps:
        """Returns the maps of some images as float32 arrays.

        Args:
            positions: Positions of B images, int [B].

        Raises:
            UserError: If a shard is missing or damaged.
        """
        shards, rows = np.divmod(np.asarray(positions), _SHARD_SIZE)
        records = np.empty(len(shards), self._shard(0).dtype)
        for shard in np.unique(shards):
            chosen = np.flatnonzero(shards == shard)
            records[chosen] = self._shard(int(shard))[rows[chosen]]
        return Maps(*(records[name].astype(np.float32) for name in Maps._fields))

    def _path(self, shard: int) -> Path:
        return self.folder / f"maps-{shard:05d}.npy"

    def _shard_size(self, shard: int) -> int:
        return min(_SHARD_SIZE, self.count - shard * _SHARD_SIZE)

    def _shard(self, shard: int) -> np.ndarray:
        records = self._open(shard)
        if records is None:
            raise UserError(f"{self._path(shard)} is missing or damaged; run the stage propose")
        return records

    def _open(self, shard: int) -> np.ndarray | None:
        """The records of a shard, mapped into memory; None if it is missing or damaged."""
        if shard not in self._shards:
            try:
                records = np.load(self._path(shard), mmap_mode="r", allow_pickle=False)
            except (OSError, ValueError, EOFError):  # missing, or not a whole file
                return None
            if records.shape != (self._shard_size(shard),) or records.dtype.names != Maps._fields:
                return None
            self._shards[shard] = records
        return self._shards[shard]


def _records(maps: Maps) -> np.ndarray:
    """The maps of some images as one array of records in 16 bits."""
    fields = [(name, "<f2", each.shape[1:]) for name, each in maps._asdict().items()]
    records = np.empty(len(maps.last), fields)
    for name, each in maps._asdict().items():
        records[name] = each
    return records
