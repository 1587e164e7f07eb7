"""What can be seen of every object: masks and boxes after occlusion and clipping."""

from __future__ import annotations

import dataclasses

import numpy as np

from .shapes import coverage
from .world import PICTURE_SIZE, Scene


@dataclasses.dataclass(frozen=True)
class View:
    """What can be seen of a scene's N objects, in the order of `Scene.objects`.

    Attributes:
        covered: bool [N, height, width], the pixels an object would have if nothing hid it.
        visible: bool [N, height, width], the pixels in which it is seen.
        boxes: float32 [N, 4], `rel_yxyx`, tight around the visible pixels (the lower edge is the
            first pixel's, the upper edge the last pixel's far side).
        visible_share: float32 [N], the share of the object's whole area (inside the picture or
            not) that is seen.
    """

    covered: np.ndarray
    visible: np.ndarray
    boxes: np.ndarray
    visible_share: np.ndarray


def tight_box(mask: np.ndarray) -> np.ndarray:
    """Returns the tight `rel_yxyx` box, float32 [4], of a mask bool [height, width].

    An empty mask gives zeros.

    >>> mask = np.zeros((4, 4), bool)
    >>> mask[1, 2:4] = True
    >>> tight_box(mask).tolist()
    [0.25, 0.5, 0.5, 1.0]
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return np.zeros(4, np.float32)
    height, width = mask.shape
    return np.array(
        [rows[0] / height, columns[0] / width, (rows[-1] + 1) / height, (columns[-1] + 1) / width],
        np.float32,
    )


def clip_patch(patch: np.ndarray, top: int, left: int) -> tuple[np.ndarray, slice, slice]:
    """Cuts a patch placed at (top, left) to the picture.

    Args:
        patch: [height, width, ...], a part of the picture's plane that may stick out of it.
        top: row of its first pixel in the picture, may be negative.
        left: column of its first pixel in the picture, may be negative.

    Returns:
        The part inside the picture, and the picture's rows and columns that it takes.
    """
    height, width = patch.shape[:2]
    rows = slice(max(top, 0), max(min(top + height, PICTURE_SIZE), 0))
    columns = slice(max(left, 0), max(min(left + width, PICTURE_SIZE), 0))
    inside = patch[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    return inside, rows, columns


def look(scene: Scene) -> View:
    """Finds what can be seen of each object of a scene.

    A pixel belongs to an object when more than half of its colour comes from it.

    Args:
        scene: the scene.

    Returns:
        The `View`.
    """
    count = len(scene.objects)
    covered = np.zeros((count, PICTURE_SIZE, PICTURE_SIZE), bool)
    visible = np.zeros_like(covered)
    through = np.ones((PICTURE_SIZE, PICTURE_SIZE), np.float32)  # light that front objects let by
    areas = np.zeros(count, np.float32)
    for index in reversed(range(count)):
        alpha, top, left = coverage(scene.objects[index])
        areas[index] = alpha.sum()
        inside, rows, columns = clip_patch(alpha, top, left)
        covered[index, rows, columns] = inside > 0.5
        visible[index, rows, columns] = inside * through[rows, columns] > 0.5
        through[rows, columns] *= 1 - inside
    return View(
        covered=covered,
        visible=visible,
        boxes=np.stack([tight_box(mask) for mask in visible]),
        visible_share=visible.sum(axis=(1, 2)) / areas,
    )
