"""Regions of pictures that belong to no data set, kept so that the next search is quick.

A store is a folder of shards, each an `.npy` file of records written whole or not at all, a record
a picture. Pictures are told apart by path, size and time of change, so a changed file is described
anew. The folder's name depends on everything that the features depend on.
"""

import hashlib
import os
import secrets
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from visem_tf.config import RegionsConfig
from visem_tf.regions.dataset_cache import as_regions, cache_folder, cache_key, record_fields
from visem_tf.regions.extractor import Regions
from visem_tf.runtime.files import save_array
from visem_tf.runtime.storage import AnyPath, absolute, file_version

_FIELDS = ("identity", "region_features", "boxes", "scores", "region_mask")


def identity(path: AnyPath) -> bytes:
    """What a file is known by: 32 hexadecimal digits of its path, size and time of change.

    Raises:
      OSError: The file is missing.
    """
    text = " ".join(map(str, (*file_version(path), absolute(str(path)))))
    return hashlib.sha256(os.fsencode(text)).hexdigest()[:32].encode()


def store_folder(cache_dir: AnyPath, settings: RegionsConfig, tuned: Path | None = None) -> AnyPath:
    """The folder of a store: another one for other settings or other weights."""
    return cache_folder(cache_dir, cache_key(settings, "own-pictures", "", "any", tuned))


class RegionStore:
    """The regions of any number of pictures, by their `identity`.

    Args:
      folder: Holds the shards; made when something is added. Shards that cannot be read are
        passed over, and their pictures are missing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._shards: list[np.ndarray] = []
        self._place: dict[bytes, tuple[int, int]] = {}
        for path in sorted(folder.glob("*.npy")):
            try:
                records = np.load(path, mmap_mode="r", allow_pickle=False)
            except (OSError, ValueError):
                continue
            if records.dtype.names == _FIELDS and records.ndim == 1:
                self._take(records)

    def __contains__(self, name: bytes) -> bool:
        return name in self._place

    def add(self, names: Sequence[bytes], regions: Regions) -> None:
        """Keeps the regions of some pictures.

        Args:
          names: B identities.
          regions: Of B pictures; features are kept in 16 bits.
        """
        count, num_regions, feature_dim = np.shape(regions.region_features)
        fields = [("identity", "S32"), *record_fields(num_regions, feature_dim)]
        records = np.empty(count, fields)
        for field, part in zip(_FIELDS, (list(names), *regions), strict=True):
            records[field] = part
        path = self.folder / f"pictures-{secrets.token_hex(8)}.npy"
        save_array(path, records)
        self._take(np.load(path, mmap_mode="r", allow_pickle=False))

    def gather(self, names: Sequence[bytes]) -> Regions:
        """Reads the regions of some pictures.

        Args:
          names: B identities, at least one.

        Returns:
          NumPy arrays, `region_features` in float32.

        Raises:
          KeyError: One was never added.
        """
        places = np.array([self._place[name] for name in names])
        records = np.empty(len(places), self._shards[places[0, 0]].dtype)
        for shard in np.unique(places[:, 0]):
            chosen = places[:, 0] == shard
            records[chosen] = self._shards[shard][places[chosen, 1]]
        return as_regions(records)

    def _take(self, records: np.ndarray) -> None:
        for row, name in enumerate(records["identity"].tolist()):
            self._place[name] = (len(self._shards), row)
        self._shards.append(records)
