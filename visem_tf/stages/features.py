"""Stage features: extracts the CNN features of the regions of all images (section 3.1.1)."""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
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
from visem_tf.runs.model_files import open_model_files
from visem_tf.runs.starting import weights_to_copy
from visem_tf.runtime.storage import as_path
from visem_tf.runtime.workers import barrier, num_workers, worker_index
from visem_tf.runtime.working_copy import working_copy

ALL_WORKERS = True


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
    return read and any(open_cache(context, name).missing() for name in context.data.splits)


def mirrored_cache(context: Context, *, tuned: bool) -> FeatureCache | None:
    """Returns the features of the mirror images of the training images.

    What is missing is extracted first.

    Args:
        context: Context of the run.
        tuned: Whether the CNN is the one that the run has trained, if it has.

    Returns:
        The complete cache; None if the features of the data set come without images.
    """
    config, data = context.config, context.data
    if data.splits["train"].regions is not None:
        if context.is_chief:
            print("training without mirror images, because these features come without images")
        return None
    weights = _region_weights(context, tuned)
    caches = fill_caches(
        config, data, context.strategy, weights=weights, splits=("train",), mirrored=True
    )
    return caches["train"]


def _region_weights(context: Context, tuned: bool) -> RegionWeights:
    weights = context.run.region_weights
    return weights if tuned else weights._replace(cnn=None)


def fill_untuned(context: Context) -> None:
    """Extracts features of the CNN as it was before this run trained it, if they are missing.

    Later stages do not use them, so that they may have been deleted when a training goes on.
    """
    weights = _region_weights(context, tuned=False)
    fill_caches(
        context.config, context.data, context.strategy, weights=weights, splits=("train", "val")
    )


def trained_weights(config: Config) -> RegionWeights:
    """Returns the weights with which `fit` extracts features of the same configuration.

    Args:
        config: Configuration with the run directory, which need not exist.

    Raises:
        UserError: The run is to train a proposer and has not done so, or it has other options of
            regions, or the model of `init_from` cannot be used.
    """
    folder = as_path(config.run_dir)
    if (folder / "config.json").is_file():
        run = open_model_files(folder)
        same = {"batch_size": config.regions.batch_size}
        if run.recorded_config().regions.updated(same) != config.regions:
            raise UserError(
                f"the run in {folder} has other options --regions.…; leave them and --preset out, "
                "or give another --run-dir"
            )
        weights = run.region_weights
    else:
        weights = weights_to_copy(config)
    if config.propose.epochs and weights.proposer is None:
        raise UserError(
            f"propose.epochs {config.propose.epochs} asks for a proposer that {folder} has not "
            "trained; run python -m visem_tf.fit --stages propose with this --run-dir first"
        )
    return weights


def fill_caches(
    config: Config,
    data: CaptionDataset,
    strategy: tf.distribute.Strategy | None = None,
    *,
    weights: RegionWeights = PRETRAINED,
    splits: Sequence[str] | None = None,
    mirrored: bool = False,
) -> dict[str, FeatureCache]:
    """Extracts the features of the regions of some splits, or reads precomputed ones.

    Several workers share what is missing. Workers that have a cache each, instead of one on a
    shared disk, then extract the rest as well.

    Args:
        config: Configuration of the regions and of the cache.
        data: Data set.
        strategy: Strategy whose workers share the work; None for the current strategy.
        weights: Weights that the run has trained.
        splits: Names of the splits; None for all.
        mirrored: Whether the images are mirrored horizontally.

    Returns:
        The complete cache of each split.
    """
    strategy = strategy or tf.distribute.get_strategy()
    index, workers = worker_index(strategy), num_workers(strategy)
    filler = CacheFiller(config, data, weights, mirrored=mirrored)
    splits = list(data.splits) if splits is None else splits
    for is_shared in (True, False) if workers > 1 else (False,):
        work = {name: filler.cache(name).missing() for name in splits}
        barrier(strategy)  # All workers count what is missing before one of them changes it.
        for name, missing in work.items():
            if is_shared:
                count = len(missing)
                missing = missing[index * count // workers : (index + 1) * count // workers]
            if missing:
                filler.fill(name, missing)
        barrier(strategy)
    return {name: filler.cache(name) for name in splits}


@dataclass(frozen=True)
class CacheFiller:
    """Fills shards of the feature caches of a data set.

    Args:
        config: Configuration of the regions and of the cache.
        data: Data set.
        weights: Weights that the run has trained.
        mirrored: Whether the images are mirrored horizontally.
    """

    config: Config
    data: CaptionDataset
    weights: RegionWeights = PRETRAINED
    mirrored: bool = False

    @functools.cached_property
    def extractor(self) -> RegionExtractor:
        """Extracts features from images; built when it is first needed."""
        return RegionExtractor(self.config.regions, self.weights)

    def cache(self, split: str) -> FeatureCache:
        """Opens the cache of a split, complete or not."""
        data = self.data.splits[split]
        size = None
        if data.regions is None:
            size = feature_dim(self.config.regions)
            key = cache_key(
                self.config.regions,
                self.data.name,
                data.picture_digest,
                split,
                self.weights,
                mirrored=self.mirrored,
            )
        else:
            key = precomputed_key(self.data.name, self.data.fingerprint, split)
        folder = working_copy(cache_folder(as_path(self.config.cache_dir), key))
        return FeatureCache(folder, key, len(data.image_ids), size)

    def fill(self, split: str, shards: list[int]) -> None:
        """Writes shards of a split, whose numbers are in ascending order."""
        cache, label = self.cache(split), f"features of {split}{', mirrored' * self.mirrored}"
        source = self.data.splits[split].regions
        if source is None:
            images = self.data.splits[split].pictures()
            cache.fill(
                lambda start: extract_regions(self.extractor, images.skip(start), self.mirrored),
                label,
                shards,
            )
        else:
            cache.fill(functools.partial(_read_regions, source), label, shards)


def open_cache(context: Context, split: str, *, tuned: bool = True) -> FeatureCache:
    """Opens the feature cache of a split.

    Args:
        context: Context of the run.
        split: Name of the split.
        tuned: Whether the features are those of the CNN that the run has trained, if it has
            trained one; otherwise they are those of the pretrained CNN.
    """
    weights = _region_weights(context, tuned)
    return CacheFiller(context.config, context.data, weights).cache(split)


def _read_regions(source: RegionSource, start: int) -> Iterator[Regions]:
    """Reads precomputed regions, which have no scores of a proposer."""
    for block in source.blocks(start):
        scores = np.zeros(block.mask.shape, np.float32)
        yield Regions(block.features, block.boxes, scores, block.mask)
