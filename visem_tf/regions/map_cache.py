"""Maps of the frozen CNN for views of images, on disk, because a training reads them often."""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tqdm

from visem_tf.regions.backbone import Backbone, Maps
from visem_tf.runtime.files import save_array

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
        self._shards: dict[int, np.ndarray] = {}

    def fill(
        self,
        pixels_from: Callable[[int], tf.data.Dataset],
        backbone: Backbone,
        batch_size: int,
        description: str,
    ) -> None:
        """Computes the maps that are missing.

        Args:
            pixels_from: Returns the pixels float [P, P, 3] of all images from a position on.
            backbone: CNN that computes the maps.
            batch_size: Images in one pass of the CNN, at most 64.
            description: Label of the progress bar.
        """
        compute = tf.function(backbone.maps, reduce_retracing=True)
        shards = range(-(-self.count // _SHARD_SIZE))
        first = next((shard for shard in shards if not self._path(shard).exists()), len(shards))
        start = first * _SHARD_SIZE
        batches = iter(pixels_from(start).batch(_SHARD_SIZE).prefetch(1))
        with tqdm.tqdm(
            total=self.count,
            initial=start,
            desc=description,
            unit=" images",
            disable=None,
            leave=False,
        ) as bar:
            for shard, pixels in zip(shards[first:], batches, strict=True):
                parts = [
                    [np.asarray(each, np.float16) for each in compute(pixels[row:end])]
                    for row, end in _slices(len(pixels), batch_size)
                ]
                maps = [np.concatenate(part) for part in zip(*parts, strict=True)]
                fields = [
                    (name, "<f2", each.shape[1:])
                    for name, each in zip(Maps._fields, maps, strict=True)
                ]
                records = np.empty(len(pixels), fields)
                for name, each in zip(Maps._fields, maps, strict=True):
                    records[name] = each
                save_array(self._path(shard), records)
                bar.update(len(pixels))

    def gather(self, positions: np.ndarray) -> Maps:
        """Returns the maps of some images as float32 arrays.

        Args:
            positions: Positions of B images, int [B].
        """
        shards, rows = np.divmod(np.asarray(positions), _SHARD_SIZE)
        records = np.empty(len(shards), self._open(0).dtype)
        for shard in np.unique(shards):
            chosen = np.flatnonzero(shards == shard)
            records[chosen] = self._open(int(shard))[rows[chosen]]
        return Maps(*(records[name].astype(np.float32) for name in Maps._fields))

    def _path(self, shard: int) -> Path:
        return self.folder / f"maps-{shard:05d}.npy"

    def _open(self, shard: int) -> np.ndarray:
        if shard not in self._shards:
            self._shards[shard] = np.load(self._path(shard), mmap_mode="r", allow_pickle=False)
        return self._shards[shard]


def _slices(count: int, size: int) -> list[tuple[int, int]]:
    return [(start, min(start + size, count)) for start in range(0, count, size)]
