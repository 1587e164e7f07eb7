"""Nine kinds of backgrounds, made of noise, gradients and stripes."""

import numpy as np
from PIL import Image

from .world import IMAGE_SIZE as SIZE


def _noise(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    """Returns smooth noise of `rows` x `columns` cells, float32 [SIZE, SIZE] in [0, 1]."""
    cells = rng.integers(0, 256, (rows, columns), dtype=np.uint8)
    smooth = Image.fromarray(cells).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    return np.asarray(smooth, dtype=np.float32) / 255


def _grain(rng: np.random.Generator) -> np.ndarray:
    """Returns independent noise for each pixel, float32 [SIZE, SIZE] in [0, 1]."""
    return rng.random((SIZE, SIZE), dtype=np.float32)


def _mix(first, second, share: np.ndarray) -> np.ndarray:
    """Blends two colours or images by the share [SIZE, SIZE] of the second."""
    first, second = np.asarray(first, np.float32), np.asarray(second, np.float32)
    return first + (second - first) * np.clip(share, 0, 1)[..., None]


def _down() -> np.ndarray:
    return np.linspace(0, 1, SIZE, dtype=np.float32)[:, None] * np.ones(SIZE, np.float32)


def _sky(rng: np.random.Generator) -> np.ndarray:
    clear = _mix((84, 146, 226), (176, 212, 246), _down())
    clouds = 0.65 * _noise(rng, 5, 4) + 0.35 * _noise(rng, 14, 10)
    return _mix(clear, (250, 250, 252), (clouds - 0.5) * 3.5)


def _grass(rng: np.random.Generator) -> np.ndarray:
    patches = _mix((52, 104, 40), (104, 150, 62), _noise(rng, 6, 6))
    blades = 0.6 * _noise(rng, 40, 112) + 0.4 * _noise(rng, 80, 200)
    return patches * (0.6 + 0.75 * blades)[..., None]


def _sand(rng: np.random.Generator) -> np.ndarray:
    dunes = 0.5 + 0.5 * np.sin(_down() * rng.uniform(18, 34) + 5 * _noise(rng, 4, 4))
    ground = _mix((198, 168, 116), (228, 202, 152), dunes)
    return ground * (0.9 + 0.18 * _grain(rng))[..., None]


def _night(rng: np.random.Generator) -> np.ndarray:
    dark = _mix((8, 10, 32), (30, 34, 74), _down() * 0.8 + 0.4 * _noise(rng, 4, 4))
    rows, columns = rng.integers(0, SIZE, (2, 45))
    dark[rows, columns] = (215, 215, 225)
    return dark


def _brick(rng: np.random.Generator) -> np.ndarray:
    height, width = int(rng.integers(16, 24)), int(rng.integers(36, 52))
    row = (np.arange(SIZE) + rng.integers(0, height)) // height
    across = np.arange(SIZE)[None] + (row % 2)[:, None] * (width // 2) + rng.integers(0, width)
    column = across // width
    tones = rng.random((row.max() + 1, column.max() + 1), dtype=np.float32)
    bricks = _mix((122, 58, 44), (168, 86, 66), tones[row[:, None], column])
    joints = across % width < 3
    first_row = np.concatenate([[True], row[1:] != row[:-1]])
    joints |= (first_row | np.roll(first_row, 1) | np.roll(first_row, 2))[:, None]  # 3 pixels
    wall = np.where(joints[..., None], np.array((176, 164, 150), np.float32), bricks)
    return wall * (0.86 + 0.22 * _grain(rng))[..., None]


def _snow(rng: np.random.Generator) -> np.ndarray:
    drifts = 0.7 * _noise(rng, 6, 4) + 0.3 * _noise(rng, 20, 12)
    return _mix((196, 210, 230), (248, 250, 254), drifts) * (0.97 + 0.04 * _grain(rng))[..., None]


def _sea(rng: np.random.Generator) -> np.ndarray:
    phase = _down() * rng.uniform(50, 80) + 7 * _noise(rng, 5, 4)
    waves = 0.5 + 0.5 * np.sin(phase)
    water = _mix((18, 92, 116), (58, 148, 158), 0.6 * waves + 0.4 * _noise(rng, 30, 10))
    return _mix(water, (200, 230, 230), (waves * _noise(rng, 24, 12) - 0.62) * 3)


def _wood(rng: np.random.Generator) -> np.ndarray:
    plank = int(rng.integers(28, 46))
    row = (np.arange(SIZE) + rng.integers(0, plank)) // plank
    tone = rng.random(row.max() + 1, dtype=np.float32)[row][:, None]
    veins = 0.7 * _noise(rng, 110, 5) + 0.3 * _noise(rng, 160, 9)
    boards = _mix((112, 76, 46), (172, 124, 78), 0.45 * tone + 0.55 * veins)
    joints = np.concatenate([[False], row[1:] != row[:-1]])
    boards[joints | np.roll(joints, 1)] *= 0.5
    return boards


def _paper(rng: np.random.Generator) -> np.ndarray:
    step = int(rng.integers(12, 20))
    sheet = _mix((236, 233, 222), (248, 246, 238), _noise(rng, 3, 3))
    first_row, first_column = rng.integers(0, step, 2)
    lines = np.zeros((SIZE, SIZE), np.float32)
    lines[first_row::step] = 1
    lines[:, first_column::step] = 1
    return _mix(sheet, (140, 168, 204), lines * 0.8)


_PAINTERS = {
    "sky": _sky,
    "grass": _grass,
    "sand": _sand,
    "night": _night,
    "brick": _brick,
    "snow": _snow,
    "sea": _sea,
    "wood": _wood,
    "paper": _paper,
}


def paint_background(kind: str, rng: np.random.Generator) -> np.ndarray:
    """Paints a background.

    Args:
        kind: Name out of `world.BACKGROUNDS`.
        rng: Random numbers for the variation within a kind.

    Returns:
        Image float32 [224, 224, 3], RGB from 0 to 255.
    """
    light = rng.uniform(0.86, 1.06) + rng.uniform(-0.08, 0.08) * np.linspace(-1, 1, SIZE)
    image = _PAINTERS[kind](rng) * light[None, :, None]
    return np.clip(image, 0, 255).astype(np.float32)
