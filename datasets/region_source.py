"""Regions that were described elsewhere: what a reader of precomputed features gives."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np


class RegionBlock(NamedTuple):
    """The regions of some pictures.

    Attributes:
        features: float [B, R, F]; region 0 stands for the whole picture.
        boxes: float32 [B, R, 4], (ymin, xmin, ymax, xmax) in shares of the picture; the whole
            picture where boxes are not known.
        mask: bool [B, R], False where a picture has fewer regions.
    """

    features: np.ndarray
    boxes: np.ndarray
    mask: np.ndarray


class RegionSource(Protocol):
    """The regions of all pictures of a split, in its order."""

    @property
    def has_boxes(self) -> bool:
        """Whether it is known where the regions are."""

    def blocks(self, start: int) -> Iterator[RegionBlock]:
        """Yields the regions of the pictures from a position on, some pictures at a time."""


def with_frame(features: np.ndarray, boxes: np.ndarray | None, mask: np.ndarray) -> RegionBlock:
    """Puts a region for the whole picture first: the mean of its regions.

    Args:
        features: float [B, R, F].
        boxes: float [B, R, 4], or None where they are not known.
        mask: bool [B, R], which regions are real; a picture without any has zeros as its mean.

    Returns:
        The same with R + 1 regions.

    Example:
        >>> block = with_frame(np.array([[[1.0], [3.0], [0.0]]]), None,
        ...     np.array([[True, True, False]]))
        >>> block.features[0, :, 0].tolist(), block.mask[0].tolist()
        ([2.0, 1.0, 3.0, 0.0], [True, True, True, False])
    """
    features = np.where(mask[..., np.newaxis], features, 0).astype(np.float32)
    count = np.maximum(mask.sum(axis=1), 1)[:, np.newaxis]
    mean = features.sum(axis=1) / count
    frame = np.broadcast_to(np.array([0, 0, 1, 1], np.float32), (len(features), 1, 4))
    if boxes is None:
        boxes = np.broadcast_to(frame, (*mask.shape, 4))
    return RegionBlock(
        np.concatenate([mean[:, np.newaxis], features], axis=1),
        np.concatenate([frame, boxes.astype(np.float32)], axis=1),
        np.pad(mask, [(0, 0), (1, 0)], constant_values=True),
    )
