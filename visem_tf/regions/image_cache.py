"""Regions of images outside of data sets, kept so that the next search is quick.

A cache is a folder of shards, each an `.npy` file of records that is written whole or not at all,
one record for each image. The key of an image changes with its path and content, so that a changed
file is processed again. The name of the folder depends on everything that the features depend on.
"""

import hashlib
import os
import secrets
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from visem_tf.config import RegionsConfig
from visem_tf.regions.dataset_cache import cache_folder, cache_key
from visem_tf.regions.extractor import PRETRAINED, Regions, RegionWeights
from visem_tf.regions.shards import as_records, as_regions, open_records, record_fields
from visem_tf.runtime.files import save_array
from visem_tf.runtime.storage import AnyPath, absolute, file_version

_FIELDS = ("identity", *Regions._fields)


def image_key(path: AnyPath) -> bytes:
    """Returns 32 hexadecimal digits for the path and version of an image file.

    Raises:
        OSError: The file is missing.
    """
    text = " ".join(map(str, (*file_version(path), absolute(str(path)))))
    return hashlib.sha256(os.fsencode(text)).hexdigest()[:32].encode()


def image_cache_folder(
    cache_dir: AnyPath, settings: RegionsConfig, weights: RegionWeights = PRETRAINED
) -> AnyPath:
    """Returns the folder of the cache for some settings and weights."""
    return cache_folder(cache_dir, cache_key(settings, "own-pictures", "", "any", weights))


class ImageCache:
    """The regions of any number of images by their keys.

    Args:
        folder: Folder of the shards, which need not exist. Damaged shards are ignored, see
            `visem_tf.regions.shards.open_records`.
        feature_dim: F; shards with features of another size are ignored. None allows any.
    """

    def __init__(self, folder: Path, feature_dim: int | None = None) -> None:
        self.folder = folder
        self._feature_dim = feature_dim
        self._records: dict[bytes, np.void] = {}
        for path in sorted(folder.glob("*.npy")):
            self._open(path)

    def __contains__(self, key: bytes) -> bool:
        return key in self._records

    def add(self, keys: Sequence[bytes], regions: Regions) -> None:
        """Writes the regions of some images.

        Args:
            keys: Keys of the B images.
            regions: Regions of the B images; features are kept in 16 bits.
        """
        _, num_regions, feature_dim = np.shape(regions.region_features)
        fields = [("identity", "S32"), *record_fields(num_regions, feature_dim)]
        path = self.folder / f"pictures-{secrets.token_hex(8)}.npy"
        save_array(path, as_records(fields, [list(keys), *regions]))
        self._open(path)

    def gather(self, keys: Sequence[bytes]) -> Regions:
        """Returns the regions of some images.

        Args:
            keys: Keys of B images, at least one.

        Returns:
            NumPy arrays, `region_features` in float32.

        Raises:
            KeyError: An image was never added.
        """
        return as_regions(np.stack([self._records[key] for key in keys]))

    def _open(self, path: Path) -> None:
        records = open_records(path, self._feature_dim)
        if records is not None and records.dtype.names == _FIELDS:
            self._records.update(zip(records["identity"].tolist(), records, strict=True))
