"""Checks precomputed features: reads all of them once, and finds invalid ones."""

import numpy as np

from visem_tf.datasets.caption_dataset import CaptionDataset, Split
from visem_tf.datasets.problems import Problems
from visem_tf.datasets.records import Record, RegionBlock
from visem_tf.runtime.progress import progress_bar

LARGEST = float(np.finfo(np.float16).max)
"""Largest feature: caches store features in half precision."""


def check_features(data: CaptionDataset, problems: Problems) -> dict[str, list[Record]]:
    """Reads the features of all splits.

    Args:
        data: Dataset with `regions`.
        problems: Receives a note for each image and reason.

    Returns:
        The images of each split with their sentences.
    """
    return {name: _check_split(split, problems) for name, split in data.splits.items()}


def _check_split(split: Split, problems: Problems) -> list[Record]:
    assert split.regions is not None
    start, count = 0, len(split.image_ids)
    description = f"reading features of {split.name}"
    with progress_bar(count, description, "images") as bar:
        for block in split.regions.blocks(0):
            for reason, invalid in faults(block).items():
                names = [split.file_names[start + row] for row in np.flatnonzero(invalid)]
                problems.notes += [f"{name} ({split.name}): {reason}" for name in names]
            start += len(block.features)
            bar.update(len(block.features))
    return split.records()


def faults(block: RegionBlock) -> dict[str, np.ndarray]:
    """Returns which images have invalid features, bool [B], for each reason.

    Args:
        block: Regions of B images.

    Example:
        >>> features = np.array([[[1.0, 2.0]], [[0.0, 0.0]], [[np.nan, 1.0]]])
        >>> block = RegionBlock(features, np.tile([0, 0, 1, 1], (3, 1, 1)), np.ones((3, 1), bool))
        >>> for reason, invalid in faults(block).items():
        ...     print(reason, invalid.tolist())
        features with NaN or infinity [False, False, True]
        features beyond 65504 [False, False, False]
        regions whose features are all zero [False, True, False]
        empty boxes [False, False, False]
    """
    features = np.asarray(block.features, np.float32)
    finite = np.isfinite(features)
    ymin, xmin, ymax, xmax = np.moveaxis(block.boxes, -1, 0)
    invalid = {
        "features with NaN or infinity": np.any(~finite, axis=2),
        f"features beyond {LARGEST:g}": np.any(finite & (np.abs(features) > LARGEST), axis=2),
        "regions whose features are all zero": np.all(features == 0, axis=2),
        "empty boxes": (ymax <= ymin) | (xmax <= xmin),
    }
    return {reason: np.any(each & block.mask, axis=1) for reason, each in invalid.items()}
