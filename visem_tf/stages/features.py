"""The first stage: regions of every picture, described by the CNN, into the cache."""

from pathlib import Path
from typing import Any

from visem_tf.regions.cache import FeatureCache, cache_folder, cache_key
from visem_tf.regions.extractor import RegionExtractor
from visem_tf.stages import Context


def run(context: Context) -> dict[str, Any]:
    """Fills the cache for all splits; what is there already is kept."""
    caches = {name: open_cache(context, name) for name in context.data.splits}
    if any(cache.missing() for cache in caches.values()):
        extractor = RegionExtractor(context.config.regions, context.run.tuned_cnn)
        for name, cache in caches.items():
            cache.build(extractor, context.data.splits[name].pictures(), f"features of {name}")
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


def open_cache(context: Context, split: str, *, tuned: bool = True) -> FeatureCache:
    """The region features of a split; see `FeatureCache`.

    Args:
      context: Of the run.
      split: Its name.
      tuned: Whether they are those of the run's own CNN, if it has trained one; otherwise they are
        what that training started from.
    """
    data, settings = context.data, context.config.regions
    cnn = context.run.tuned_cnn if tuned else None
    key = cache_key(settings, data.name, data.fingerprint, split, cnn)
    folder = cache_folder(Path(context.config.cache_dir), key)
    return FeatureCache(folder, key, len(data.splits[split].image_ids))
