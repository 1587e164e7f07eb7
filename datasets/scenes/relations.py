"""Spatial relations and places of objects: the facts that sentences may state.

All are computed from the visible boxes, with margins, so that a person who sees the image would
agree. Centres (y, x) and boxes are relative to the side of the image:

- `left_of`, `right_of`: the centres differ by at least 0.15 across, and by 1.2 times more across
  than down. `above`, `below`: likewise with across and down exchanged.
- `beside`: neither object hides any part of the other, and the gap between the boxes is at most
  0.06.
- `far_from`: the centres are at least 0.6 apart.
- `in_front_of`, `behind`: the object in front hides at least 5% of the area that the other has
  inside the image.
- corners and sides: the centre lies in the outer 36%; `middle`: both coordinates within 0.1 of 0.5.
- `cut_off`: part of the object lies outside the image, by at least 0.02.
"""

import numpy as np

from .shapes import full_box
from .visibility import View
from .world import Scene

_APART, _SLANT = 0.15, 1.2
_NEAR, _FAR = 0.06, 0.6
_HIDDEN_SHARE = 0.05
_OUTER, _MIDDLE = 0.36, 0.1
_OVERHANG = 0.02


def _centres(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, :2] + boxes[:, 2:]) / 2


def pair_relations(view: View) -> dict[str, np.ndarray]:
    """Computes the relations between all pairs of N objects.

    Args:
        view: Visible parts of the objects.

    Returns:
        A matrix bool [N, N] for each relation; entry [a, b] is True if it holds from a to b.
    """
    centres = _centres(view.boxes)
    down, across = np.moveaxis(centres[None] - centres[:, None], -1, 0)  # from a to b
    left = (across >= _APART) & (across >= _SLANT * np.abs(down))
    above = (down >= _APART) & (down >= _SLANT * np.abs(across))

    low = np.maximum(view.boxes[:, None, :2], view.boxes[None, :, :2])
    high = np.minimum(view.boxes[:, None, 2:], view.boxes[None, :, 2:])
    gap = np.hypot(*np.moveaxis(np.maximum(low - high, 0), -1, 0))
    shared = np.einsum("ayx,byx->ab", view.visible, view.covered, dtype=np.float32, optimize=True)
    areas = view.covered.sum(axis=(1, 2))
    others = ~np.eye(len(centres), dtype=bool)
    front = (np.arange(len(centres))[:, None] > np.arange(len(centres))) & (
        shared >= _HIDDEN_SHARE * areas
    )
    touching = (shared > 0) & others
    return {
        "left_of": left,
        "right_of": left.T,
        "above": above,
        "below": above.T,
        "beside": (gap <= _NEAR) & others & ~touching & ~touching.T,
        "far_from": np.hypot(down, across) >= _FAR,
        "in_front_of": front,
        "behind": front.T,
    }


def places(scene: Scene, view: View) -> list[set[str]]:
    """Returns the places of each object in the image.

    Args:
        scene: Scene with N objects.
        view: Visible parts of its objects.

    Returns:
        For each object, a subset of "left", "right", "top", "bottom", the four corners such as
        "top left", "middle" and "cut_off".
    """
    found = []
    for item, (y, x) in zip(scene.objects, _centres(view.boxes), strict=True):
        sides = {
            "top": y < _OUTER,
            "bottom": y > 1 - _OUTER,
            "left": x < _OUTER,
            "right": x > 1 - _OUTER,
            "middle": max(abs(y - 0.5), abs(x - 0.5)) <= _MIDDLE,
        }
        names = {name for name, holds in sides.items() if holds}
        names |= {f"{v} {h}" for v in names & {"top", "bottom"} for h in names & {"left", "right"}}
        whole = full_box(item)
        if whole.min() < -_OVERHANG or whole.max() > 1 + _OVERHANG:
            names.add("cut_off")
        found.append(names)
    return found
