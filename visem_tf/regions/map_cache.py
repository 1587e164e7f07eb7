"""Maps of the frozen CNN for views of images, on disk, because a training reads them often."""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from visem_tf.regions.backbone import Backbone, Maps
from visem_tf.regions.shards import Shards, as_records, consecutive, open_array
from visem_tf.runtime.files import save_array
from visem_tf.runtime.pipelines import prefetched
from visem_tf.runtime.progress import progress_bar

SHARD_SIZE = 64
"""Images of one file."""


class MapCache(Shards):
    """The maps of N images in 16 bits, in shards that are written whole or not at all.

    Args:
        folder: Folder of all caches; this one has its own folder in it.
        key: Everything that the maps depend on, in JSON's types.
        count: N.
    """

    stage = "propose"

    def __init__(self, folder: Path, key: Mapping[str, Any], count: int) -> None:
        digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
        super().__init__(folder / digest, count, SHARD_SIZE)

    def path(self, shard: int) -> Path:
        """Returns the file of a shard."""
        return self.folder / f"maps-{shard:05d}.npy"

    def read(self, path: Path) -> np.ndarray | None:
        """Opens a file; returns None if it is missing, not whole, or of other records."""
        records = open_array(path)
        return records if records is not None and records.dtype.names == Maps._fields else None

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
        missing = self.missing()
        total = sum(map(self.shard_size, missing))
        with progress_bar(total, description, "images") as bar:
            for first, last in consecutive(missing):
                batches = prefetched(pixels_from(first * self.per_shard).batch(self.per_shard), 1)
                shards = range(first, last + 1)
                for shard, pixels in zip(shards, batches.take(len(shards)), strict=True):
                    parts = [
                        compute(pixels[row : row + batch_size])
                        for row in range(0, len(pixels), batch_size)
                    ]
                    maps = [np.concatenate(part) for part in zip(*parts, strict=True)]
                    fields = [
                        (name, "<f2", each.shape[1:])
                        for name, each in zip(Maps._fields, maps, strict=True)
                    ]
                    save_array(self.path(shard), as_records(fields, maps))
                    bar.update(len(pixels))

    def gather(self, positions: np.ndarray) -> Maps:
        """Returns the maps of some images as float32 arrays.

        Args:
            positions: Positions of B images, int [B].

        Raises:
            UserError: If a shard is missing or damaged.
        """
        records = self.records_at(positions)
        return Maps(*(records[name].astype(np.float32) for name in Maps._fields))
