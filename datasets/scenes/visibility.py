"""Visible parts of objects: masks and boxes after occlusion and clipping."""

import dataclasses

import numpy as np

from .shapes import coverage
from .world import IMAGE_SIZE, Scene


@dataclasses.dataclass(frozen=True)
class View:
    """The visible parts of the N objects of a scene, in the order of `Scene.objects`.

    Attributes:
        covered: Pixels of each object without occlusion, bool [N, H, W].
        visible: Visible pixels of each object, bool [N, H, W].
        boxes: Tight boxes `rel_yxyx` of the visible pixels, float32 [N, 4].
        visible_share: Visible share of the whole area of each object, including the area outside
            of the image, float32 [N].
    """

    covered: np.ndarray
    visible: np.ndarray
    boxes: np.ndarray
    visible_share: np.ndarray


def tight_box(mask: np.ndarray) -> np.ndarray:
    """Returns the tight box `rel_yxyx` of a mask bool [H, W], float32 [4]; zeros if it is empty.

    Example:
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
    """Clips a patch to the image.

    Args:
        patch: Array [H, W, ...].
        top: Row of its first pixel in the image, which may be negative.
        left: Column of its first pixel in the image, which may be negative.

    Returns:
        The part inside the image, and the rows and columns of the image that it covers.
    """
    height, width = patch.shape[:2]
    rows = slice(max(top, 0), max(min(top + height, IMAGE_SIZE), 0))
    columns = slice(max(left, 0), max(min(left + width, IMAGE_SIZE), 0))
    inside = patch[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    return inside, rows, columns


def find_visible(scene: Scene) -> View:
    """Finds the visible part of each object of a scene.

    A pixel belongs to an object if more than half of its colour comes from the object.
    """
    count = len(scene.objects)
    covered = np.zeros((count, IMAGE_SIZE, IMAGE_SIZE), bool)
    visible = np.zeros_like(covered)
    through = np.ones((IMAGE_SIZE, IMAGE_SIZE), np.float32)  # transmission of the objects in front
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
