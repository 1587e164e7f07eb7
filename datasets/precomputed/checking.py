"""Reads all precomputed features once, and says which pictures' are bad."""

from __future__ import annotations

import numpy as np
from tqdm import tqdm

from visem_tf.datasets.caption_dataset import CaptionDataset, Split
from visem_tf.datasets.problems import Problems
from visem_tf.datasets.records import Record, RegionBlock
from visem_tf.runtime.storage import as_path

LARGEST = float(np.finfo(np.float16).max)
"""The largest feature: the cache keeps them in half precision."""


def look_at_features(data: CaptionDataset, problems: Problems) -> dict[str, list[Record]]:
    """Reads the features of all splits.

    Args:
        data: has `regions` and no pictures.
        problems: its `notes` receive a line for each picture and reason.

    Returns:
        The pictures of each split with their sentences.
    """
    return {name: _look(split, problems) for name, split in data.splits.items()}


def _look(split: Split, problems: Problems) -> list[Record]:
    assert split.regions is not None
    start = 0
    with tqdm(
        total=len(split.image_ids),
        desc=f"reading features of {split.name}",
        unit=" pictures",
        leave=False,
        disable=None,
    ) as bar:
        for block in split.regions.blocks(0):
            for reason, bad in faults(block).items():
                names = [split.file_names[start + row] for row in np.flatnonzero(bad)]
                problems.notes += [f"{name} ({split.name}): {reason}" for name in names]
            start += len(block.features)
            bar.update(len(block.features))
    references = split.references()
    return [
        Record(image_id, as_path(file_name), references[image_id], phrases, file_name=file_name)
        for image_id, file_name, phrases in zip(
            split.image_ids, split.file_names, split.phrases_of_pictures(), strict=True
        )
    ]


def faults(block: RegionBlock) -> dict[str, np.ndarray]:
    """Returns what can be wrong with features, and which pictures have it: bool [B] each.

    Args:
        block: the regions of B pictures.

    Example:
        >>> features = np.array([[[1.0, 2.0]], [[0.0, 0.0]], [[np.nan, 1.0]]])
        >>> block = RegionBlock(features, np.tile([0, 0, 1, 1], (3, 1, 1)), np.ones((3, 1), bool))
        >>> for reason, bad in faults(block).items():
        ...     print(reason, bad.tolist())
        features that are no numbers [False, False, True]
        features beyond 65504 [False, False, False]
        regions whose features are all zero [False, True, False]
        empty boxes [False, False, False]
    """
    features = np.asarray(block.features, np.float32)
    real, boxes = block.mask, block.boxes
    finite = np.isfinite(features)
    empty = (boxes[..., 2] <= boxes[..., 0]) | (boxes[..., 3] <= boxes[..., 1])
    wrong = {
        "features that are no numbers": np.any(~finite, axis=2),
        f"features beyond {LARGEST:g}": np.any(finite & (np.abs(features) > LARGEST), axis=2),
        "regions whose features are all zero": np.all(features == 0, axis=2),
        "empty boxes": empty,
    }
    return {reason: np.any(bad & real, axis=1) for reason, bad in wrong.items()}
