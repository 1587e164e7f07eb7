"""The first stage: regions of every picture, described by the CNN, into the cache."""

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from visem_tf.config import Config
from visem_tf.datasets.loading import CaptionDataset
from visem_tf.datasets.region_source import RegionSource
from visem_tf.regions.cache import FeatureCache, cache_folder, cache_key, precomputed_key
from visem_tf.regions.extractor import RegionExtractor, Regions
from visem_tf.stages import Context
from visem_tf.storage import as_path
from visem_tf.working_copy import working_copy


def run(context: Context) -> dict[str, Any]:
    """Fills the cache for all splits; what is there already is kept."""
    caches = fill_caches(context.config, context.data, context.run.tuned_cnn)
    return {
        "pictures": {name: len(cache) for name, cache in caches.items()},
        "regions": caches["train"].num_regions,
        "cache": {name: str(cache.folder) for name, cache in caches.items()},
    }


def fill_caches(
    config: Config, data: CaptionDataset, tuned: Path | None = None
) -> dict[str, FeatureCache]:
    """Describes the regions of all splits, or reads them where they were described elsewhere.

    Args:
      config: Of the run.
      data: The data set.
      tuned: The file of a CNN that was trained further, which then describes.

    Returns:
      The finished cache of each split.
    """
    caches = {name: cache_of(config, data, name, tuned) for name in data.splits}
    for name, cache in caches.items():
        source = data.splits[name].regions
        if source is not None:
            cache.fill(functools.partial(_read_regions, source), f"features of {name}")
    if any(cache.missing() for cache in caches.values()):
        extractor = RegionExtractor(config.regions, tuned)
        for name, cache in caches.items():
            cache.build(extractor, data.splits[name].pictures(), f"features of {name}")
    return caches


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
