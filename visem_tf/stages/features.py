"""The first stage: regions of every picture, described by the CNN, into the cache."""

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from visem_tf.config import Config
from visem_tf.datasets.caption_dataset import CaptionDataset
from visem_tf.datasets.records import RegionSource
from visem_tf.regions.dataset_cache import (
    FeatureCache,
    cache_folder,
    cache_key,
    extract_regions,
    precomputed_key,
)
from visem_tf.regions.extractor import RegionExtractor, Regions
from visem_tf.runs.context import Context
from visem_tf.runtime.storage import as_path
from visem_tf.runtime.workers import barrier, num_workers, worker_index
from visem_tf.runtime.working_copy import working_copy

ALL_WORKERS = True


def run(context: Context) -> dict[str, Any]:
    """Fills the cache for all splits; what is there already is kept."""
    caches = fill_caches(
        context.config, context.data, context.strategy, tuned=context.run.tuned_cnn
    )
    return {
        "pictures": {name: len(cache) for name, cache in caches.items()},
        "regions": caches["train"].num_regions,
        "cache": {name: str(cache.folder) for name, cache in caches.items()},
    }


def fill_caches(
    config: Config,
    data: CaptionDataset,
    strategy: tf.distribute.Strategy | None = None,
    *,
    tuned: Path | None = None,
) -> dict[str, FeatureCache]:
    """Describes the regions of all splits, or reads them where they were described elsewhere.

    Several workers share what is missing. Where they have a cache each, instead of one on a disk
    that all see, each of them then makes the rest.

    Args:
      config: Of the run.
      data: The data set.
      strategy: Its workers share the work; None: there is one.
      tuned: The file of a CNN that was trained further, which then describes.

    Returns:
      The finished cache of each split.
    """
    strategy = strategy or tf.distribute.get_strategy()
    index, workers = worker_index(strategy), num_workers(strategy)
    describer = Describer(config, data, tuned)
    for turn in range(1 if workers == 1 else 2):
        work = {name: cache_of(config, data, name, tuned).missing() for name in data.splits}
        barrier(strategy)  # before somebody changes what the others count
        for name, missing in work.items():
            if turn == 0:
                count = len(missing)
                missing = missing[index * count // workers : (index + 1) * count // workers]
            if missing:
                describer.describe(name, missing)
        barrier(strategy)
    return {name: cache_of(config, data, name, tuned) for name in data.splits}


class Describer:
    """Fills shards of the feature cache.

    Args:
      config: Of the run.
      data: The data set.
      tuned: The file of a CNN that was trained further, which then describes.
    """

    def __init__(self, config: Config, data: CaptionDataset, tuned: Path | None = None) -> None:
        self.config = config
        self.data = data
        self.tuned = tuned

    @functools.cached_property
    def extractor(self) -> RegionExtractor:
        """Describes pictures; made where one must be described."""
        return RegionExtractor(self.config.regions, self.tuned)

    def describe(self, split: str, shards: list[int]) -> None:
        """Writes shards of a split, given in ascending order."""
        cache = cache_of(self.config, self.data, split, self.tuned)
        label, source = f"features of {split}", self.data.splits[split].regions
        if source is None:
            images = self.data.splits[split].pictures()
            cache.fill(
                lambda start: extract_regions(self.extractor, images.skip(start)), label, shards
            )
        else:
            cache.fill(functools.partial(_read_regions, source), label, shards)


def is_outdated(context: Context) -> bool:
    """Whether the cache lacks features that a stage to come reads, as when it was deleted."""
    later = [stage for stage in context.config.stages if stage != "features"]
    read = not later or not all(context.run.is_done(stage) for stage in later)
    return read and any(open_cache(context, name).missing() for name in context.data.splits)


def open_cache(context: Context, split: str, *, tuned: bool = True) -> FeatureCache:
    """The region features of a split; see `FeatureCache`.

    Args:
      context: Of the run.
      split: Its name.
      tuned: Whether they are those of the run's own CNN, if it has trained one; otherwise they are
        what that training started from.
    """
    cnn = context.run.tuned_cnn if tuned else None
    return cache_of(context.config, context.data, split, cnn)


def cache_of(
    config: Config, data: CaptionDataset, split: str, tuned: Path | None = None
) -> FeatureCache:
    """The region features of a split, finished or not."""
    if data.splits[split].regions is None:
        digest = data.splits[split].picture_digest
        key = cache_key(config.regions, data.name, digest, split, tuned)
    else:
        key = precomputed_key(data.name, data.fingerprint, split)
    folder = working_copy(cache_folder(as_path(config.cache_dir), key))
    return FeatureCache(folder, key, len(data.splits[split].image_ids))


def _read_regions(source: RegionSource, start: int) -> Iterator[Regions]:
    """Regions that were described elsewhere; no proposer has scored them."""
    for block in source.blocks(start):
        scores = np.zeros(block.mask.shape, np.float32)
        yield Regions(block.features, block.boxes, scores, block.mask)
