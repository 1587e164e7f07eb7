"""Draws scenes: the background, then objects from back to front with shadow and texture."""

import io

import numpy as np
from PIL import Image

from .backgrounds import paint_background
from .shapes import coverage
from .visibility import clip_patch
from .world import IMAGE_SIZE, Scene, SceneObject

_JPEG_QUALITY = 92

_PALETTE = {  # colour: (main tone, tone of its stripes, spots and checks)
    "red": ((210, 34, 40), (255, 196, 190)),
    "orange": ((246, 132, 18), (148, 66, 0)),
    "yellow": ((248, 214, 40), (166, 122, 6)),
    "green": ((40, 158, 62), (196, 242, 180)),
    "blue": ((38, 84, 212), (176, 208, 255)),
    "purple": ((128, 52, 172), (222, 190, 252)),
    "pink": ((250, 146, 188), (196, 52, 124)),
    "white": ((232, 232, 232), (132, 134, 144)),
}


def _pattern(texture: str, across: np.ndarray, down: np.ndarray, period: float) -> np.ndarray:
    """Returns the share of the second tone at positions in pixels along two rotated axes."""
    if texture == "plain":
        return np.zeros_like(across)
    if texture == "striped":
        wave = np.sin(across * (2 * np.pi / period))
    elif texture == "spotted":
        step = 2 * np.pi / (1.25 * period)
        wave = np.cos(across * step) + np.cos(down * step) - 0.85
    else:  # checked
        step = np.pi / period
        wave = 3 * np.sin(across * step) * np.sin(down * step)
    # A slope of about one pixel at the edges of the pattern avoids aliasing.
    return np.clip(0.5 + wave * period / (2 * np.pi), 0, 1)


def _shade(
    colour: np.ndarray, material: str, across: np.ndarray, down: np.ndarray, phase: float
) -> np.ndarray:
    """Shades a patch [H, W, 3]; `across` and `down` run from -1 to 1 over the object."""
    slope = (across + down)[..., None]
    if material == "matt":
        return colour * (1 - 0.08 * slope)
    if material == "shiny":
        glow = np.exp(-((across + 0.32) ** 2 + (down + 0.36) ** 2) / 0.07)[..., None]
        lit = colour * (1 - 0.2 * slope)
        return lit + (255 - lit) * 0.92 * np.clip(1.6 * glow, 0, 1)
    bands = 0.5 + 0.5 * np.sin(2.7 * slope + phase)  # metal
    steel = 0.82 * colour + 0.18 * colour.mean(axis=-1, keepdims=True)
    return steel * (0.5 + 0.5 * bands) + 190 * np.clip(bands - 0.72, 0, 1) * 2.2


def _draw_object(canvas: np.ndarray, item: SceneObject, rng: np.random.Generator) -> None:
    """Draws an object with its shadow into the canvas [224, 224, 3]."""
    tint, turn, phase = rng.uniform(-8, 8, 3), rng.uniform(-0.5, 0.5), rng.uniform(0, 6.28)
    shift, rim = rng.uniform(0, 9, 2), 0.72
    alpha, top, left = coverage(item)
    side = item.side * IMAGE_SIZE
    grid = np.arange(alpha.shape[0], dtype=np.float32)
    across = (grid - (item.centre_x * IMAGE_SIZE - left))[None] + 0 * grid[:, None]
    down = (grid - (item.centre_y * IMAGE_SIZE - top))[:, None] + 0 * grid

    cos, sin = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    period = max(9.0, side / 4.5) if item.texture == "striped" else max(8.5, side / 6.5)
    second = _pattern(
        item.texture,
        across * cos + down * sin + shift[0],
        down * cos - across * sin + shift[1],
        period,
    )[..., None]
    main, accent = (np.add(tone, tint).astype(np.float32) for tone in _PALETTE[item.colour])
    colour = _shade(
        main + (accent - main) * second,
        item.material,
        across / (side / 2),
        down / (side / 2),
        phase,
    )
    # The rim is darker: the part outside of the shape shrunk by a pixel and a half.
    reach = 2
    padded = np.pad(alpha, reach)
    inner = np.minimum.reduce(
        [
            padded[
                reach + dy : reach + dy + alpha.shape[0], reach + dx : reach + dx + alpha.shape[1]
            ]
            for dy, dx in ((-2, 0), (2, 0), (0, -2), (0, 2), (-1, -1), (1, 1), (-1, 1), (1, -1))
        ]
    )
    colour *= (rim + (1 - rim) * inner)[..., None]

    offset = max(2, round(side / 28))
    shadow = np.asarray(
        Image.fromarray((alpha * 255).astype(np.uint8)).reduce(3).resize(alpha.shape[::-1]),
        dtype=np.float32,
    )
    dark, rows, columns = clip_patch(shadow, top + offset, left + offset)
    canvas[rows, columns] *= 1 - (0.32 / 255) * dark[..., None]

    inside, rows, columns = clip_patch(alpha, top, left)
    paint, _, _ = clip_patch(np.clip(colour, 0, 255), top, left)
    below = canvas[rows, columns]
    canvas[rows, columns] = below + (paint - below) * inside[..., None]


def render(scene: Scene) -> np.ndarray:
    """Draws a scene.

    Args:
        scene: Scene to draw.

    Returns:
        RGB image uint8 [224, 224, 3], a function of the scene alone.
    """
    ground, *brushes = np.random.SeedSequence(scene.paint_seed).spawn(1 + len(scene.objects))
    canvas = paint_background(scene.background, np.random.default_rng(ground))
    for item, brush in zip(scene.objects, brushes, strict=True):
        _draw_object(canvas, item, np.random.default_rng(brush))
    return (canvas + 0.5).clip(0, 255).astype(np.uint8)


def encode_jpeg(image: np.ndarray) -> bytes:
    """Encodes an image uint8 [H, W, 3] as JPEG."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=_JPEG_QUALITY)
    return buffer.getvalue()
