"""Outlines of shapes, and the pixels that an object covers."""

import functools

import numpy as np
from PIL import Image, ImageDraw

from .world import IMAGE_SIZE, SceneObject

_SUPERSAMPLING = 4


def _polar(radius: np.ndarray, angle: np.ndarray) -> np.ndarray:
    return np.stack([radius * np.sin(angle), -radius * np.cos(angle)], axis=1)


def _regular(corners: int) -> np.ndarray:
    return _polar(np.ones(corners), np.arange(corners) * 2 * np.pi / corners)


def _star() -> np.ndarray:
    return _polar(np.where(np.arange(10) % 2 == 0, 1.0, 0.45), np.arange(10) * np.pi / 5)


def _heart() -> np.ndarray:
    t = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    x = 16 * np.sin(t) ** 3
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.stack([x, -y], axis=1)


def _cross() -> np.ndarray:
    arm = 0.34
    corners = [(-arm, -1), (arm, -1), (arm, -arm), (1, -arm), (1, arm), (arm, arm)]
    return np.array(corners + [(-x, -y) for x, y in corners], dtype=float)


def _crescent() -> np.ndarray:
    """Returns the unit disc without a disc of radius 0.85 whose centre is 0.5 to the right."""
    offset, radius = 0.5, 0.85
    x = (1 - radius**2 + offset**2) / (2 * offset)
    outer = np.arccos(x)
    inner = np.pi - np.arccos((offset - x) / radius)
    away = np.linspace(outer, 2 * np.pi - outer, 60)
    back = np.linspace(2 * np.pi - inner, inner, 40)
    outer_arc = np.stack([np.cos(away), np.sin(away)], axis=1)
    inner_arc = np.stack([offset + radius * np.cos(back), radius * np.sin(back)], axis=1)
    return np.concatenate([outer_arc, inner_arc])


def _flower() -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, 120, endpoint=False)
    return _polar(0.62 + 0.38 * np.abs(np.cos(2.5 * angle)), angle)


@functools.cache
def outline(shape: str) -> np.ndarray:
    """Returns the corners (x, y) of a shape's outline, float [P, 2], at an arbitrary scale.

    Args:
        shape: Name out of `world.SHAPES`.
    """
    square = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)], dtype=float)
    makers = {
        "circle": lambda: _regular(90),
        "ring": lambda: _regular(90),
        "square": lambda: square,
        "triangle": lambda: _regular(3),
        "star": _star,
        "heart": _heart,
        "cross": _cross,
        "hexagon": lambda: _regular(6),
        "crescent": _crescent,
        "diamond": lambda: np.array([(0, -1), (0.64, 0), (0, 1), (-0.64, 0)], dtype=float),
        "flower": _flower,
    }
    return makers[shape]()


def _fitted_outline(shape: str, angle: float) -> tuple[np.ndarray, np.ndarray]:
    """Rotates an outline and fits it into the unit square around 0.

    Returns:
        Corners [P, 2], whose longer extent is 1, and the extents (width, height) [2].
    """
    turn = np.deg2rad(angle)
    matrix = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    points = outline(shape) @ matrix
    low, high = points.min(axis=0), points.max(axis=0)
    longest = (high - low).max()
    return (points - (low + high) / 2) / longest, (high - low) / longest


@functools.lru_cache(maxsize=64)
def coverage(item: SceneObject) -> tuple[np.ndarray, int, int]:
    """Draws the anti-aliased mask of an object without occlusion.

    Args:
        item: Object to draw.

    Returns:
        Share of each pixel that the object covers, float32 [H, W], and the row and column of the
        mask's first pixel in the image, which may lie outside.
    """
    points, _ = _fitted_outline(item.shape, item.angle)
    pixels = item.side * IMAGE_SIZE
    centre = np.array([item.centre_x, item.centre_y]) * IMAGE_SIZE
    origin = np.floor(centre - pixels / 2).astype(int) - 1
    patch = int(np.ceil(pixels)) + 3
    image = Image.new("L", (patch * _SUPERSAMPLING,) * 2)
    draw = ImageDraw.Draw(image)
    # Pillow's polygon includes its border; the shift of half a pixel keeps the true size.
    middle = (centre - origin) * _SUPERSAMPLING - 0.5
    corners = points * pixels * _SUPERSAMPLING + middle
    draw.polygon([tuple(corner) for corner in corners], fill=255)
    if item.shape == "ring":
        hole = points * 0.5 * pixels * _SUPERSAMPLING + middle
        draw.polygon([tuple(corner) for corner in hole], fill=0)
    alpha = np.asarray(image.reduce(_SUPERSAMPLING), dtype=np.float32) / 255
    alpha.setflags(write=False)
    return alpha, int(origin[1]), int(origin[0])


def full_box(item: SceneObject) -> np.ndarray:
    """Returns the box of the whole object, float [4] `rel_yxyx`, not clipped to the image."""
    _, (width, height) = _fitted_outline(item.shape, item.angle)
    half = np.array([height, width]) * item.side / 2
    centre = np.array([item.centre_y, item.centre_x])
    return np.concatenate([centre - half, centre + half])
