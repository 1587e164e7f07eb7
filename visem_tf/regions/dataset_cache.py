"""Region features of a data set on disk: written once, then read at random without loading all.

A cache is a folder of shards. A shard is an `.npy` file of records, one for each image, and is
written whole or not at all; an interrupted build continues with the first missing shard. The name
of the folder is a digest of everything that the features depend on, which its `key.json` lists.
"""

import hashlib
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from visem_tf.config import RegionsConfig
from visem_tf.errors import UserError
from visem_tf.regions.backbone import weights_digest
from visem_tf.regions.extractor import (
    PRETRAINED,
    RegionExtractor,
    Regions,
    RegionWeights,
    prepared_batches,
)
from visem_tf.regions.proposers.trained import weights_file
from visem_tf.regions.shards import (
    Shards,
    as_records,
    as_regions,
    consecutive,
    open_records,
    record_fields,
)
from visem_tf.runtime.files import save_array, write_atomically
from visem_tf.runtime.progress import progress_bar
from visem_tf.runtime.storage import AnyPath, read_regular, reason_of

_FORMAT = 1
SHARD_SIZE = 256
"""Number of images in a shard."""


class FeatureCache(Shards):
    """The regions of all images of a split, in the order of the split.

    Args:
        folder: Folder of the shards.
        key: Everything that the features depend on.
        num_images: Number of records in all.
        feature_dim: F, if it is known without the shards; those of another size are not used.
    """

    stage = "features"

    def __init__(
        self,
        folder: Path,
        key: Mapping[str, Any],
        num_images: int,
        feature_dim: int | None = None,
    ) -> None:
        super().__init__(folder, num_images, SHARD_SIZE)
        self.key = dict(key)
        self._feature_dim = feature_dim

    @property
    def num_regions(self) -> int:
        """R, the number of regions of an image."""
        return int(self.records(0).dtype["boxes"].shape[0])

    @property
    def feature_dim(self) -> int:
        """F, the size of a feature vector."""
        return int(self.records(0).dtype["region_features"].shape[1])

    def path(self, shard: int) -> Path:
        """Returns the file of a shard."""
        return self.folder / f"regions-{shard:05d}-of-{self.num_shards:05d}.npy"

    def read(self, path: Path) -> np.ndarray | None:
        """Opens a file, see `open_records`."""
        return open_records(path, self._feature_dim)

    def fill(
        self,
        read: Callable[[int], Iterator[Regions]],
        description: str,
        shards: Iterable[int] | None = None,
    ) -> None:
        """Writes shards.

        Args:
            read: Function from a position in the split to the regions of all images from there on,
                in batches; see `extract_regions`.
            description: Label of the progress bar.
            shards: Shards to write, in ascending order; None for all that are missing.

        Raises:
            UserError: A feature is NaN or infinite, or too large for half precision.
        """
        for first, last in consecutive(self.missing() if shards is None else shards):
            write_atomically(self.folder / "key.json", json.dumps(self.key, indent=1) + "\n")
            total = sum(map(self.shard_size, range(first, last + 1)))
            with progress_bar(total, description, "images") as bar:
                records = _records_of(read(first * self.per_shard), bar.update)
                for shard in range(first, last + 1):
                    of_shard = itertools.islice(records, self.shard_size(shard))
                    self.write(shard, np.stack(list(of_shard)))

    def write(self, shard: int, records: np.ndarray) -> None:
        """Writes the records of a shard."""
        save_array(self.path(shard), records)

    def gather(self, positions: np.ndarray) -> Regions:
        """Returns the regions of some images.

        Args:
            positions: int array [B], positions in the split.

        Returns:
            NumPy arrays, `region_features` in float32.
        """
        return as_regions(self.records_at(positions))

    def gather_vectors(self, positions: np.ndarray, regions: np.ndarray) -> np.ndarray:
        """Returns the features of one region of each of some images.

        Args:
            positions: int array [B], positions of the images in the split.
            regions: int array [B], the region of each image.

        Returns:
            float32 array [B, F].
        """
        vectors = np.empty([len(positions), self.feature_dim], np.float32)
        for chosen, records, rows in self.by_shard(positions):
            vectors[chosen] = records["region_features"][rows, regions[chosen]]
        return vectors

    def frame_features(self) -> np.ndarray:
        """Returns the features of the whole frames of all images, float32 [I, F]."""
        parts = [self.records(shard)["region_features"][:, 0] for shard in range(self.num_shards)]
        return np.concatenate(parts).astype(np.float32)

    def sample_features(self, size: int = 500) -> np.ndarray:
        """Returns the features of all real regions of evenly spaced images, float32 [N, F]."""
        positions = np.unique(np.linspace(0, self.count - 1, size).astype(np.int64))
        regions = self.gather(positions)
        return regions.region_features[regions.region_mask]

    def batches(self, size: int) -> Iterator[tuple[np.ndarray, Regions]]:
        """Yields the positions and regions of all images in order."""
        for start in range(0, self.count, size):
            positions = np.arange(start, min(start + size, self.count))
            yield positions, self.gather(positions)


class Views:
    """Two views of every image of a split, such as the image and its mirror image.

    View v of image i has the position v I + i.

    Args:
        caches: Caches of the views, of I images each.
    """

    def __init__(self, *caches: FeatureCache) -> None:
        self.caches = caches

    def gather(self, positions: np.ndarray) -> Regions:
        """Returns the regions of some views; see `FeatureCache.gather`."""
        if not len(positions):
            return self.caches[0].gather(positions)
        views, images = np.divmod(np.asarray(positions), len(self.caches[0]))
        order = np.argsort(views, kind="stable")
        found = [
            cache.gather(images[views == view])
            for view, cache in enumerate(self.caches)
            if np.any(views == view)
        ]
        back = np.argsort(order)
        return Regions(*(np.concatenate(parts)[back] for parts in zip(*found, strict=True)))


def extract_regions(
    extractor: RegionExtractor, images: tf.data.Dataset, mirrored: bool = False
) -> Iterator[Regions]:
    """Yields the regions of encoded images in batches, as NumPy arrays.

    Args:
        extractor: Extractor of the regions.
        images: Dataset of encoded images.
        mirrored: Whether the images are mirrored horizontally.
    """
    for pixels in prepared_batches(images, extractor.settings, mirrored):
        yield extractor.extract_pixels(pixels)


def cache_key(
    settings: RegionsConfig,
    dataset: str,
    images: str,
    split: str,
    weights: RegionWeights = PRETRAINED,
    *,
    mirrored: bool = False,
) -> dict[str, Any]:
    """Returns everything that the features of a split depend on.

    Args:
        settings: Section `regions` of the configuration.
        dataset: Name of the data set.
        images: Digest of the images of the split.
        split: Name of the split.
        weights: Weights that the run has trained.
        mirrored: Whether the images are mirrored horizontally.
    """
    fields = settings.to_dict()
    del fields["batch_size"]  # changes the speed only
    del fields["proposer_file"]  # its content counts
    del fields["proposer_backbone"]  # its weights count
    for name in ("resolution", "scales", "position"):  # older caches lack them
        if fields[name] == getattr(RegionsConfig(), name):
            del fields[name]
    digests = {"weights": weights_digest(settings.backbone)}
    if settings.maps_backbone != settings.backbone:
        digests["proposer_weights"] = weights_digest(settings.maps_backbone)
    files: dict[str, AnyPath | None] = {"tuned": weights.cnn}
    if settings.proposer == "trained":
        files["proposer"] = weights_file(settings, weights.proposer)
    return {
        "format": _FORMAT,
        "dataset": dataset,
        "pictures": images,
        "split": split,
        "regions": fields,
        **digests,
        **{name: file_digest(path) for name, path in files.items() if path},
        **({"mirrored": True} if mirrored else {}),
    }


def file_digest(path: AnyPath) -> str:
    """Returns the SHA-256 of a file of weights.

    Raises:
        UserError: If the file is missing.
    """
    try:
        return hashlib.sha256(read_regular(path)).hexdigest()
    except OSError as error:
        raise UserError(
            f"cannot read the weights {path}: {reason_of(error)}; give another file"
        ) from error


def precomputed_key(dataset: str, fingerprint: str, split: str) -> dict[str, Any]:
    """Returns everything that the features of a split depend on if a data set has its own."""
    return {"format": _FORMAT, "dataset": dataset, "fingerprint": fingerprint, "split": split}


def cache_folder(cache_dir: AnyPath, key: Mapping[str, Any]) -> AnyPath:
    """Returns the folder of a cache: a readable name that ends with a digest of the key."""
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    name = f"{key['dataset']}-{key['split']}-{digest}".replace("/", "-")
    return cache_dir / "features" / name


def _records_of(batches: Iterable[Regions], count: Callable[[int], object]) -> Iterator[np.void]:
    """Yields a record for each image."""
    for regions in batches:
        features = np.asarray(regions.region_features)
        largest = np.abs(features).max(initial=0.0)
        if not np.isfinite(largest):
            raise UserError("region features contain NaN or infinity; fix them")
        if largest > np.finfo(np.float16).max:
            raise UserError(
                f"region features go up to {largest:g}, beyond half precision; divide all of them "
                "by the same number"
            )
        yield from as_records(record_fields(*features.shape[1:]), regions)
        count(len(features))
