"""Region features on disk: written once, then read at random without being loaded.

A cache is a folder of shards. A shard is one `.npy` file of records, a record a picture, written
whole or not at all; a build that was interrupted goes on with the first shard that is missing. The
folder's name is a digest of everything the features depend on, and `key.json` in it says it in
clear.
"""

import hashlib
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tqdm

from visem_tf.config import RegionsConfig
from visem_tf.errors import UserError
from visem_tf.regions.backbone import weights_digest
from visem_tf.regions.extractor import RegionExtractor, Regions, prepare_picture
from visem_tf.runtime.files import save_array, write_atomically
from visem_tf.runtime.storage import AnyPath

_FORMAT = 1
_SHARD_SIZE = 256


class FeatureCache:
    """The regions of all pictures of a split, in the split's order.

    Args:
      folder: Holds the shards.
      key: What the features depend on; a folder written under another key is refused.
      num_pictures: Number of records in all.

    Raises:
      UserError: The folder's `key.json` names another key.
    """

    def __init__(self, folder: Path, key: Mapping[str, Any], num_pictures: int) -> None:
        self.folder = folder
        self.key = dict(key)
        self.num_pictures = num_pictures
        self._shards: dict[int, np.ndarray] = {}
        self._check_key()

    @property
    def num_shards(self) -> int:
        """Number of shards of a finished cache."""
        return -(-self.num_pictures // _SHARD_SIZE)

    def missing(self) -> list[int]:
        """The shards that are not there yet, or cannot be read."""
        return [shard for shard in range(self.num_shards) if self._open(shard) is None]

    def build(
        self,
        extractor: RegionExtractor,
        pictures: tf.data.Dataset,
        description: str,
        shards: Iterable[int] | None = None,
    ) -> None:
        """Computes the missing shards.

        Args:
          extractor: Describes the pictures.
          pictures: Encoded pictures, all `num_pictures` of them in order.
          description: Stands beside the progress bar.
          shards: Which of them, in ascending order; None: all that are missing.
        """
        for first, last in _runs(self.missing() if shards is None else shards):
            wanted = pictures.skip(first * _SHARD_SIZE).take((last + 1 - first) * _SHARD_SIZE)
            self._write(_describe(extractor, wanted), range(first, last + 1), description)

    def fill(
        self,
        read: Callable[[int], Iterator[Regions]],
        description: str,
        shards: Iterable[int] | None = None,
    ) -> None:
        """Writes the missing shards from regions that were described elsewhere.

        Args:
          read: Gives the regions of all pictures from a position on, in order, some at a time.
          description: Stands beside the progress bar.
          shards: Which of them, in ascending order; None: all that are missing.

        Raises:
          UserError: A feature is no number, or too large to be kept in half precision.
        """
        for first, last in _runs(self.missing() if shards is None else shards):
            blocks = map(_checked, read(first * _SHARD_SIZE))
            self._write(blocks, range(first, last + 1), description)

    def _write(self, blocks: Iterator[Regions], shards: range, description: str) -> None:
        """Writes neighbouring shards, whose regions come first among the blocks."""
        write_atomically(self.folder / "key.json", json.dumps(self.key, indent=1) + "\n")
        with tqdm.tqdm(
            total=sum(map(self.shard_size, shards)),
            desc=description,
            unit=" pictures",
            disable=None,
            leave=False,
        ) as progress:
            records = _records_of(blocks, progress)
            for shard in shards:
                self.write(shard, np.stack([next(records) for _ in range(self.shard_size(shard))]))

    def shard_size(self, shard: int) -> int:
        """Number of records of a shard."""
        return min(_SHARD_SIZE, self.num_pictures - shard * _SHARD_SIZE)

    def write(self, shard: int, records: np.ndarray) -> None:
        """Writes the records of a shard."""
        save_array(self._path(shard), records)

    def __len__(self) -> int:
        return self.num_pictures

    def gather(self, pictures: np.ndarray) -> Regions:
        """Reads the regions of some pictures.

        Args:
          pictures: int [B], positions in the split.

        Returns:
          NumPy arrays, `region_features` in float32.
        """
        pictures = np.asarray(pictures)
        shards, rows = np.divmod(pictures, _SHARD_SIZE)
        records: np.ndarray | None = None
        for shard in np.unique(shards):
            chosen = np.flatnonzero(shards == shard)
            found = self._records(int(shard))[rows[chosen]]
            if records is None:
                records = np.empty(len(pictures), found.dtype)
            records[chosen] = found
        if records is None:
            records = self._records(0)[:0]
        return as_regions(records)

    def frame_features(self) -> np.ndarray:
        """The whole-frame vectors of all pictures, float32 [I, F]."""
        parts = [self._records(shard)["region_features"][:, 0] for shard in range(self.num_shards)]
        return np.concatenate(parts).astype(np.float32)

    def sample_features(self, size: int = 500) -> np.ndarray:
        """The vectors of all real regions of some pictures, evenly spread: float32 [N, F]."""
        positions = np.unique(np.linspace(0, self.num_pictures - 1, size).astype(np.int64))
        regions = self.gather(positions)
        return regions.region_features[regions.region_mask]

    def batches(self, size: int) -> Iterator[tuple[np.ndarray, Regions]]:
        """Yields all pictures in order: their positions, and their regions."""
        for start in range(0, self.num_pictures, size):
            positions = np.arange(start, min(start + size, self.num_pictures))
            yield positions, self.gather(positions)

    def records(self, shard: int) -> np.ndarray:
        """The records of a shard, as they lie on the disk."""
        return self._records(shard)

    @property
    def num_regions(self) -> int:
        """R, the regions of a picture."""
        return int(self._records(0).dtype["boxes"].shape[0])

    @property
    def feature_dim(self) -> int:
        """F, the size of a feature vector."""
        return int(self._records(0).dtype["region_features"].shape[1])

    def _path(self, shard: int) -> Path:
        return self.folder / f"regions-{shard:05d}-of-{self.num_shards:05d}.npy"

    def _open(self, shard: int) -> np.ndarray | None:
        if shard not in self._shards:
            size = self.shard_size(shard)
            try:
                records = np.load(self._path(shard), mmap_mode="r", allow_pickle=False)
            except (OSError, ValueError):  # Absent, or not a whole file.
                return None
            if records.shape != (size,) or records.dtype.names != _FIELDS:
                return None
            self._shards[shard] = records
        return self._shards[shard]

    def _records(self, shard: int) -> np.ndarray:
        records = self._open(shard)
        if records is None:
            raise UserError(f"{self._path(shard)} is missing or damaged; run the stage features")
        return records

    def _check_key(self) -> None:
        path = self.folder / "key.json"
        if not path.exists():
            return
        try:
            found = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise UserError(f"{path} cannot be read; delete {self.folder}") from error
        if found != self.key:
            differing = sorted(
                name for name in {*found, *self.key} if found.get(name) != self.key.get(name)
            )
            raise UserError(
                f"{self.folder} holds features of another kind (they differ in "
                f"{', '.join(differing)}); delete it, or choose another --cache-dir"
            )


_FIELDS = ("region_features", "boxes", "scores", "region_mask")


def cache_key(
    settings: RegionsConfig,
    dataset: str,
    pictures: str,
    split: str,
    tuned: Path | None = None,
) -> dict[str, Any]:
    """Everything the cached features of a split depend on.

    Args:
      settings: Of the regions.
      dataset: Its name.
      pictures: A digest of its pictures.
      split: Its name.
      tuned: The file of a CNN that was trained further, see `visem_tf.regions.tuning`.
    """
    fields = settings.to_dict()
    del fields["batch_size"]  # Changes speed only.
    for name in ("resolution", "scales"):  # Younger than caches that are as they are without.
        if fields[name] == getattr(RegionsConfig(), name):
            del fields[name]
    return {
        "format": _FORMAT,
        "dataset": dataset,
        "pictures": pictures,
        "split": split,
        "weights": weights_digest(settings.backbone),
        "regions": fields,
        **({"tuned": hashlib.sha256(tuned.read_bytes()).hexdigest()} if tuned else {}),
    }


def cache_folder(cache_dir: AnyPath, key: Mapping[str, Any]) -> AnyPath:
    """The folder of a cache: readable in its beginning, unique in its end."""
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    name = f"{key['dataset']}-{key['split']}-{digest}".replace("/", "-")
    return cache_dir / "features" / name


def _runs(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """First and last of every maximal run of neighbours."""
    for _, run in itertools.groupby(enumerate(numbers), lambda pair: pair[1] - pair[0]):
        members = [number for _, number in run]
        yield members[0], members[-1]


def precomputed_key(dataset: str, fingerprint: str, split: str) -> dict[str, Any]:
    """Everything that features of another origin depend on."""
    return {"format": _FORMAT, "dataset": dataset, "fingerprint": fingerprint, "split": split}


def _describe(extractor: RegionExtractor, pictures: tf.data.Dataset) -> Iterator[Regions]:
    """Yields the regions of a few pictures at a time."""
    size, resolution = extractor.settings.picture_size, extractor.settings.resolution
    batches = (
        pictures.map(
            lambda encoded: prepare_picture(encoded, size, resolution),
            num_parallel_calls=tf.data.AUTOTUNE,
        )
        .batch(extractor.settings.batch_size)
        .prefetch(2)
    )
    for pixels in batches:
        yield Regions(*(np.asarray(part) for part in extractor.compiled(pixels)))


def _records_of(blocks: Iterable[Regions], progress: tqdm.tqdm) -> Iterator[np.void]:
    """Yields a record a picture."""
    for regions in blocks:
        yield from _as_records(regions)
        progress.update(len(regions.boxes))


def _checked(regions: Regions) -> Regions:
    features = np.asarray(regions.region_features)
    largest = np.abs(features).max(initial=0.0)
    if not np.isfinite(largest):
        raise UserError("precomputed features hold what is no number; mend them")
    if largest > np.finfo(np.float16).max:
        raise UserError(
            f"precomputed features go up to {largest:g}, beyond half precision; divide them all by "
            "the same number"
        )
    return regions


def record_fields(num_regions: int, feature_dim: int) -> list[tuple]:
    """The fields of a record, as NumPy's structured types take them; features in 16 bits."""
    return [
        ("region_features", "<f2", (num_regions, feature_dim)),
        ("boxes", "<f4", (num_regions, 4)),
        ("scores", "<f4", (num_regions,)),
        ("region_mask", "?", (num_regions,)),
    ]


def as_regions(records: np.ndarray) -> Regions:
    """The regions in records [B], as NumPy arrays; features in float32."""
    features = records["region_features"].astype(np.float32)
    return Regions(features, *(records[name] for name in _FIELDS[1:]))


def _as_records(regions: Regions) -> Iterable[np.void]:
    count, num_regions, feature_dim = regions.region_features.shape
    records = np.empty(count, record_fields(num_regions, feature_dim))
    for name, part in zip(_FIELDS, regions, strict=True):
        records[name] = part
    return records
