"""Shards of cached regions: arrays of records on disk, which are checked when they are opened."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from visem_tf.regions.extractor import Regions

_EXPONENT = 0x7C00  # of a number in 16 bits; all its bits are 1 in NaN and infinity


def record_fields(num_regions: int, feature_dim: int) -> list[tuple]:
    """Returns the fields of a record as NumPy's structured types; features have 16 bits."""
    return [
        ("region_features", "<f2", (num_regions, feature_dim)),
        ("boxes", "<f4", (num_regions, 4)),
        ("scores", "<f4", (num_regions,)),
        ("region_mask", "?", (num_regions,)),
    ]


def as_regions(records: np.ndarray) -> Regions:
    """Returns the regions in records [B] as NumPy arrays; features in float32."""
    features = records["region_features"].astype(np.float32)
    return Regions(features, records["boxes"], records["scores"], records["region_mask"])


def open_records(path: Path, feature_dim: int | None = None) -> np.ndarray | None:
    """Opens a shard, mapped into memory, and checks all that it contains.

    Args:
        path: The `.npy` file.
        feature_dim: F, the size that feature vectors must have; None allows any.

    Returns:
        Records [B] with the fields of `Regions`, and others; None if the file is missing, is not
        whole, or contains NaN, infinity, another size, or an image without a region.
    """
    records = open_array(path)
    if records is None:
        return None
    names = records.dtype.names or ()
    if records.ndim != 1 or names[-len(Regions._fields) :] != Regions._fields:
        return None
    shape = records.dtype["region_features"].shape
    if len(shape) != 2 or feature_dim not in (None, shape[1]):
        return None
    expected = np.dtype(record_fields(*shape))
    if any(records.dtype[name] != expected[name] for name in Regions._fields):
        return None
    return records if _is_sound(records) else None


def open_array(path: Path) -> np.ndarray | None:
    """Opens an `.npy` file, mapped into memory; returns None if it is missing or not whole."""
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None


def is_finite(halves: np.ndarray) -> bool:
    """Returns whether an array of 16-bit floats has neither NaN nor infinity."""
    bits = halves.view(np.uint16)  # a fifth of the time of `isfinite`
    return not ((bits & _EXPONENT) == _EXPONENT).any()


def _is_sound(records: np.ndarray) -> bool:
    return bool(
        records["region_mask"].any(axis=1).all()
        and np.isfinite(records["boxes"]).all()
        and np.isfinite(records["scores"]).all()
        and is_finite(records["region_features"])
    )
