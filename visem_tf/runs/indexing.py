"""Opens the index of a model, see `visem_tf.regions.search_index`, and adds images to it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from visem_tf.errors import UserError
from visem_tf.images.read import ImageError
from visem_tf.images.sources import ImageSource
from visem_tf.regions.dataset_cache import cache_key, file_digest
from visem_tf.regions.index_shards import EmbeddedRegions
from visem_tf.regions.search_index import SHARD_SIZE, SearchIndex, create_index, open_index
from visem_tf.runs.ranking import embed_regions
from visem_tf.runs.trained_run import TrainedRun
from visem_tf.runs.user_images import Blocks, extract_regions, image_keys
from visem_tf.runtime.storage import PathLike, absolute, as_path, reason_of
from visem_tf.runtime.working_copy import working_copy


def index_of(run: TrainedRun, place: PathLike) -> SearchIndex:
    """Opens an index to search it.

    Args:
        run: Run that built the index.
        place: Folder of the index, on any storage; a remote one is copied to the disk.

    Raises:
        UserError: There is no such index, it was built by another model, or it is damaged.
        OSError: A file of the index cannot be read, or too many files are open.
    """
    return _open(open_index, run, place, read_only=True)


def add_to_index(
    run: TrainedRun,
    place: PathLike,
    sources: Sequence[ImageSource],
    failures: list[ImageError] | None = None,
) -> tuple[SearchIndex, int]:
    """Adds image files to an index that need not exist, and shows the progress.

    Images are known by path, size and time of change: those that the index has are not read again,
    and a changed image replaces its earlier version. Images are stored in shards, each whole or not
    at all, so that an interrupted call is continued by the next one.

    Args:
        run: Run that embeds the images.
        place: Folder of the index, on any storage; a remote one is copied to the disk.
        sources: Image files.
        failures: List to which the errors of images that cannot be read are appended; if it is
            None, the first error is raised, after the images before it were stored.

    Returns:
        The index, and the number of images that were added.

    Raises:
        UserError: The folder has other files, or is the index of another model.
        ImageError: An image cannot be read, and there is no list of failures.
        OSError: The disk is full, or cannot be written; all earlier shards stay.
    """
    index = _open(create_index, run, place)
    keys = image_keys(sources, failures)
    is_new = ~np.isin(np.array(list(keys.values()), "S32"), index.keys)
    new = [source for source, is_missing in zip(keys, is_new, strict=True) if is_missing]
    added = 0

    def store(images: list[ImageSource], *regions: np.ndarray) -> None:
        nonlocal added
        names = [absolute(source.name) for source in images]
        index.add([keys[source] for source in images], names, EmbeddedRegions(*regions))
        added += len(images)

    try:
        with Blocks(store, SHARD_SIZE) as blocks:
            for images, regions in extract_regions(run, new, failures):
                blocks.add(images, *embed_regions(run.grounder, regions))
    finally:
        index.drop_replaced()
    return index, added


def _open(
    opening: Callable[[Path, str, Mapping[str, Any]], SearchIndex],
    run: TrainedRun,
    place: PathLike,
    *,
    read_only: bool = False,
) -> SearchIndex:
    key = _model_key(run)
    if not str(place):
        raise UserError("--index is empty; give the folder of the index")
    folder = as_path(place)
    if folder.is_file():
        raise UserError(f"the index {place} is a file; give a folder")
    try:
        local = working_copy(folder, read_only=read_only)
    except OSError as error:
        raise UserError(f"cannot read the index {place}: {reason_of(error)}") from error
    return opening(local, str(place), key)


def _model_key(run: TrainedRun) -> dict[str, Any]:
    """Names everything that the vectors of an index depend on."""
    dim = run.alignment_model.region_encoder.embedding_dim
    regions = cache_key(run.config.regions, "index", "", "any", run.run.region_weights)
    parts = {"regions": regions, "alignment": file_digest(run.run.alignment_model)}
    if run.hubness is not None:
        scale = run.config.infer.hubness_scale
        parts["hubness"] = f"{scale} {file_digest(run.run.bank)}"
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]
    return {"model": run.run.name, "digest": digest, "embedding_dim": dim}
