"""What a scene is: objects with attributes and places before a background.

The values below are concepts ("circle"), not words; which words speak of them ("disc", "ball") is
the business of `grammar`. Positions and lengths are relative to the side of the square picture.
"""

from __future__ import annotations

import dataclasses

PICTURE_SIZE = 224
"""Side of a picture in pixels."""

SHAPES = (
    "circle",
    "square",
    "triangle",
    "star",
    "heart",
    "ring",
    "cross",
    "hexagon",
    "crescent",
    "diamond",
    "flower",
)
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "white")
SIZES = ("small", "big")
SURFACES = (
    ("plain", "matt"),
    ("plain", "shiny"),
    ("plain", "metal"),
    ("striped", "matt"),
    ("striped", "shiny"),
    ("spotted", "matt"),
    ("spotted", "shiny"),
    ("checked", "matt"),
)
"""The (texture, material) pairs that look distinct; patterned metal does not."""

BACKGROUND_COLOURS = {
    "sky": ("blue", "white"),
    "grass": ("green",),
    "sand": ("yellow", "orange", "white"),
    "night": (),
    "brick": ("red", "orange"),
    "snow": ("white",),
    "sea": ("blue",),
    "wood": ("orange", "red"),
    "paper": ("white",),
}
"""Every background, with the object colours that would drown in it and never stand before it."""

BACKGROUNDS = tuple(BACKGROUND_COLOURS)


@dataclasses.dataclass(frozen=True)
class SceneObject:
    """One object.

    Attributes:
        shape: one of `SHAPES`.
        colour: one of `COLOURS`.
        size: "small" (side 0.19 to 0.27) or "big" (side 0.36 to 0.5).
        texture: "plain", "striped", "spotted" or "checked".
        material: "matt", "shiny" or "metal".
        side: longer side of the upright box around the whole (turned) object.
        centre_y: centre of that box; parts of the object may lie outside the picture.
        centre_x: likewise.
        angle: by how much the object is turned, in degrees.
    """

    shape: str
    colour: str
    size: str
    texture: str
    material: str
    side: float
    centre_y: float
    centre_x: float
    angle: float


@dataclasses.dataclass(frozen=True)
class Scene:
    """A picture's description, from which `renderer.render` draws it.

    Attributes:
        background: one of `BACKGROUNDS`.
        objects: from back to front; the index is the object's number.
        paint_seed: seed of everything that has no name in the sentences (clouds, grain, tints).
    """

    background: str
    objects: tuple[SceneObject, ...]
    paint_seed: int
