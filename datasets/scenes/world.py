"""Scenes: objects with attributes and positions in front of a background.

The values below are concepts ("circle"); `wording` has the words for them ("disc", "ball").
Positions and lengths are relative to the side of the square image.
"""

import dataclasses

IMAGE_SIZE = 224
"""Side of an image in pixels."""

ROTATIONS = {
    "circle": 0.0,
    "square": 20.0,
    "triangle": 180.0,
    "star": 36.0,
    "heart": 35.0,
    "ring": 0.0,
    "cross": 20.0,
    "hexagon": 30.0,
    "crescent": 180.0,
    "diamond": 14.0,
    "flower": 36.0,
}
"""Shapes, and the largest rotation of each in degrees, in either direction, that keeps its name
true."""

SHAPES = tuple(ROTATIONS)
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "white")
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
"""Pairs (texture, material) that are visibly distinct, unlike patterned metal."""

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
"""Backgrounds, and the colours of objects that have too little contrast with each."""

BACKGROUNDS = tuple(BACKGROUND_COLOURS)


@dataclasses.dataclass(frozen=True)
class SceneObject:
    """An object of a scene.

    Attributes:
        shape: Name out of `SHAPES`.
        colour: Name out of `COLOURS`.
        size: "small" (side 0.19 to 0.27) or "big" (side 0.36 to 0.5).
        texture: "plain", "striped", "spotted" or "checked".
        material: "matt", "shiny" or "metal".
        side: Longer side of the bounding box of the whole rotated object.
        centre_y: Vertical centre of that box, which may extend beyond the image.
        centre_x: Horizontal centre of that box.
        angle: Rotation in degrees.
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
    """The content of an image, which `renderer.render` draws.

    Attributes:
        background: Name out of `BACKGROUNDS`.
        objects: Objects from back to front; their indices are the numbers of the objects.
        paint_seed: Seed of what sentences do not mention, such as clouds, grain and tints.
    """

    background: str
    objects: tuple[SceneObject, ...]
    paint_seed: int
