"""Stage features: extracts the CNN features of the regions of all images (section 3.1.1)."""

import functools
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from visem_tf.config import Config
from visem_tf.datasets.caption_dataset import CaptionDataset
from visem_tf.datasets.records import RegionSource
from visem_tf.errors import UserError
from visem_tf.regions.dataset_cache import (
    FeatureCache,
    cache_folder,
    cache_key,
    extract_regions,
    precomputed_key,
)
from visem_tf.regions.extractor import (
    PRETRAINED,
    RegionExtractor,
    Regions,
    RegionWeights,
    feature_dim,
)
from visem_tf.runs.context import Context
from visem_tf.runtime.storage import as_path
from visem_tf.runtime.workers import barrier, num_workers, worker_index
from visem_tf.runtime.working_copy import working_copy

ALL_WORKERS = True

MIRRORED = "train, mirrored"
"""Name of the cache of the training images turned over."""


def run(context: Context) -> dict[str, Any]:
    """Fills the feature cache of all splits; existing features are kept."""
    caches = fill_caches(
        context.config, context.data, context.strategy, weights=context.run.region_weights
    )
    return {
        "pictures": {name: len(cache) for name, cache in caches.items()},
        "regions": caches["train"].num_regions,
        "cache": {name: str(cache.folder) for name, cache in caches.items()},
    }


def is_outdated(context: Context) -> bool:
    """Whether features that a later stage reads are missing, for example because of a deletion."""
    later = [stage for stage in context.config.stages if stage != "features"]
    read = not later or not all(context.run.is_done(stage) for stage in later)
    filler = CacheFiller(context.config, context.data, context.run.region_weights)
    return read and any(cache.missing() for cache in filler.needed.values())


def fill_caches(
    config: Config,
    data: CaptionDataset,
    strategy: tf.distribute.Strategy | None = None,
    *,
    weights: RegionWeights = PRETRAINED,
) -> dict[str, FeatureCache]:
    """Extracts the features of the regions of all splits, or reads precomputed ones.

    Several workers share what is missing. Workers that have a cache each, instead of one on a
    shared disk, then extract the rest as well.

    Args:
        config: Configuration of the regions and of the cache.
        data: Data set.
        strategy: Strategy whose workers share the work; None for the current strategy.
        weights: Weights that the run has trained.

    Returns:
        The complete cache of each split and, with `align.mirror`, that of the training images
        turned over.
    """
    strategy = strategy or tf.distribute.get_strategy()
    index, workers = worker_index(strategy), num_workers(strategy)
    filler = CacheFiller(config, data, weights)
    for is_shared in (True, False) if workers > 1 else (False,):
        work = {name: cache.missing() for name, cache in filler.needed.items()}
        barrier(strategy)  # All workers count what is missing before one of them changes it.
        for name, missing in work.items():
            if is_shared:
                count = len(missing)
                missing = missing[index * count // workers : (index + 1) * count // workers]
            if missing:
                filler.fill(name, missing)
        barrier(strategy)
    return filler.needed


class CacheFiller:
    """Fills shards of the feature caches of a data set.

    Args:
        config: Configuration of the regions and of the cache.
        data: Data set.
        weights: Weights that the run has trained.
    """

    def __init__(
        self, config: Config, data: CaptionDataset, weights: RegionWeights = PRETRAINED
    ) -> None:
        self.config = config
        self.data = data
        self.weights = weights

    @functools.cached_property
    def extractor(self) -> RegionExtractor:
        """Extracts features from images; built when it is first needed."""
        return RegionExtractor(self.config.regions, self.weights)

    def cache(self, split: str, *, mirrored: bool = False) -> FeatureCache:
        """Opens the cache of a split, complete or not.

        Args:
            split: Name of the split.
            mirrored: Whether its images are turned over, left for right.

        Raises:
            UserError: The features come without images, which cannot be turned over then.
        """
        data = self.data.splits[split]
        if mirrored and data.regions is not None:
            raise UserError(
                f"align.mirror needs images, and the data set {self.data.name} has features only; "
                "leave it false"
            )
        size = None
        if data.regions is None:
            size = feature_dim(self.config.regions)
            key = cache_key(
                self.config.regions,
                self.data.name,
                data.picture_digest,
                split,
                self.weights,
                mirrored=mirrored,
            )
        else:
            key = precomputed_key(self.data.name, self.data.fingerprint, split)
        folder = working_copy(cache_folder(as_path(self.config.cache_dir), key))
        return FeatureCache(folder, key, len(data.image_ids), size)

    @property
    def needed(self) -> dict[str, FeatureCache]:
        """The caches that the configuration needs, by name."""
        caches = {name: self.cache(name) for name in self.data.splits}
        if self.config.align.mirror:
            caches[MIRRORED] = self.cache("train", mirrored=True)
        return caches

    def fill(self, name: str, shards: list[int]) -> None:
        """Writes shards of a cache of `needed`, whose numbers are in ascending order."""
        cache, label = self.needed[name], f"features of {name}"
        mirrored, split = name == MIRRORED, "train" if name == MIRRORED else name
        source = self.data.splits[split].regions
        if source is None:
            images = self.data.splits[split].pictures()
            cache.fill(
                lambda start: extract_regions(self.extractor, images.skip(start), mirrored),
                label,
                shards,
            )
        else:
            cache.fill(functools.partial(_read_regions, source), label, shards)


def open_cache(
    context: Context, split: str, *, tuned: bool = True, mirrored: bool = False
) -> FeatureCache:
    """Opens the feature cache of a split.

    Args:
        context: Context of the run.
        split: Name of the split.
        tuned: Whether the features are those of the CNN that the run has trained, if it has
            trained one; otherwise they are those of the pretrained CNN.
        mirrored: Whether the images are turned over, left for right.
    """
    weights = context.run.region_weights
    if not tuned:
        weights = weights._replace(cnn=None)
    return CacheFiller(context.config, context.data, weights).cache(split, mirrored=mirrored)


def _read_regions(source: RegionSource, start: int) -> Iterator[Regions]:
    """Reads precomputed regions, which have no scores of a proposer."""
    for block in source.blocks(start):
        scores = np.zeros(block.mask.shape, np.float32)
        yield Regions(block.features, block.boxes, scores, block.mask)
