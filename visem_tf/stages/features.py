"""The first stage: regions of every picture, described by the CNN, into the cache."""

from pathlib import Path
from typing import Any

from visem_tf.config import Config
from visem_tf.datasets.loading import CaptionDataset
from visem_tf.regions.cache import FeatureCache, cache_folder, cache_key
from visem_tf.regions.extractor import RegionExtractor
from visem_tf.stages import Context
from visem_tf.workers import num_workers, wait_for_all, worker_index

ALL_WORKERS = True


def run(context: Context) -> dict[str, Any]:
    """Fills the cache for all splits; what is there already is kept.

    Several workers share the missing pictures. Where they have a cache each, instead of one on a
    disk that all see, each of them then makes the rest.
    """
    index, workers = worker_index(context.strategy), num_workers(context.strategy)
    extractor: RegionExtractor | None = None
    for turn in range(1 if workers == 1 else 2):
        for name in context.data.splits:
            cache = open_cache(context, name)
            missing = cache.missing()
            if turn == 0:
                missing = missing[index * len(missing) // workers :][
                    : (index + 1) * len(missing) // workers - index * len(missing) // workers
                ]
            if missing:
                extractor = extractor or RegionExtractor(context.config.regions)
                pictures = context.data.splits[name].pictures()
                cache.build(extractor, pictures, f"features of {name}", missing)
        wait_for_all(context.strategy)
    caches = {name: open_cache(context, name) for name in context.data.splits}
    return {
        "pictures": {name: len(cache) for name, cache in caches.items()},
        "regions": caches["train"].num_regions,
        "cache": {name: str(cache.folder) for name, cache in caches.items()},
    }


def is_outdated(context: Context) -> bool:
    """Whether the cache lacks features that a stage to come reads, as when it was deleted."""
    later = [stage for stage in context.config.stages if stage != "features"]
    read = not later or not all(context.run.is_done(stage) for stage in later)
    return read and any(open_cache(context, name).missing() for name in context.data.splits)


def open_cache(context: Context, split: str) -> FeatureCache:
    """The region features of a split; see `FeatureCache`."""
    return cache_of(context.config, context.data, split)


def cache_of(config: Config, data: CaptionDataset, split: str) -> FeatureCache:
    """The region features of a split of a data set, as a configuration asks for them."""
    key = cache_key(config.regions, data.name, data.fingerprint, split)
    folder = cache_folder(Path(config.cache_dir), key)
    return FeatureCache(folder, key, len(data.splits[split].image_ids))
