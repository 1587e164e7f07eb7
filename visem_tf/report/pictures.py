"""Pictures with boxes and texts drawn on them."""

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

COLOURS = (
    "#d6133f", "#1f7d33", "#3a5bd0", "#c04a00", "#911eb4",
    "#007a7a", "#7a4f1d", "#800000", "#6b6b00", "#c01fb0",
)  # fmt: skip
"""Colours of boxes, in order; white text on each has a contrast of 4.5 or more."""


def place_in_words(box: Sequence[float]) -> str:
    """Where a box lies.

    Args:
      box: (ymin, xmin, ymax, xmax), relative to the picture.

    Example:
      >>> place_in_words((0.0, 0.0, 0.5, 0.2))
      'top left, 10 % of the picture'
    """
    top, left, bottom, right = (float(edge) for edge in box)
    area = (bottom - top) * (right - left)
    if area > 0.999:
        return "the whole picture"
    row = ("top", "", "bottom")[min(2, int(1.5 * (top + bottom)))]
    column = ("left", "", "right")[min(2, int(1.5 * (left + right)))]
    where = " ".join(part for part in (row, column) if part) or "centre"
    return f"{where}, {100 * area:.0f} % of the picture"


def draw_regions(
    picture: Image.Image, boxes: np.ndarray, texts: Sequence[str], caption: str = ""
) -> Image.Image:
    """Draws boxes with their texts, and a caption below the picture.

    Args:
      picture: Any picture; it is shown at 480 pixels a side or more.
      boxes: float [N, 4], `rel_yxyx`.
      texts: N texts; each stands at the top of its box, in the box's colour.
      caption: Stands below.

    Returns:
      A new RGB picture.
    """
    scale = max(1.0, 480 / min(picture.size))
    size = (round(picture.width * scale), round(picture.height * scale))
    canvas = picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    draw = ImageDraw.Draw(canvas)
    height = max(13, size[1] // 34)
    font = ImageFont.load_default(height)
    for number, (box, text) in enumerate(zip(boxes, texts, strict=True)):
        colour = COLOURS[number % len(COLOURS)]
        top, left, bottom, right = (box * [size[1], size[0], size[1], size[0]]).tolist()
        draw.rectangle((left - 1, top - 1, right, bottom), outline="white", width=5)
        draw.rectangle((left, top, right - 1, bottom - 1), outline=colour, width=3)
        if text:
            _label(draw, (left, top), text, colour, font, size)
    if not caption:
        return canvas
    lines = _wrapped(caption, font, size[0] - 16)
    height = round(height * 1.4)
    framed = Image.new("RGB", (size[0], size[1] + height * len(lines) + 12), "white")
    framed.paste(canvas, (0, 0))
    draw = ImageDraw.Draw(framed)
    for number, line in enumerate(lines):
        draw.text((8, size[1] + 6 + number * height), line, fill="black", font=font)
    return framed


def as_jpeg(picture: Image.Image, quality: int = 85) -> bytes:
    """Encodes a picture."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def _label(
    draw: ImageDraw.ImageDraw,
    corner: tuple[float, float],
    text: str,
    colour: str,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    size: tuple[int, int],
) -> None:
    while len(text) > 1 and font.getlength(text) > size[0] - 6:
        text = text.rstrip("…")[:-1].rstrip() + "…"
    left, top, right, bottom = draw.textbbox(corner, text, font=font)
    shift_x = min(0, size[0] - 6 - right)
    shift_y = min(0, size[1] - 6 - bottom)
    area = (left + shift_x, top + shift_y, right + shift_x + 6, bottom + shift_y + 4)
    draw.rectangle(area, fill=colour)
    draw.text((corner[0] + shift_x + 3, corner[1] + shift_y + 1), text, fill="white", font=font)


def _wrapped(
    text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int
) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
