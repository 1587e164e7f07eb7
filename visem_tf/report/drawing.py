"""Images with boxes and texts drawn on them."""

import io
import textwrap
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

COLOURS = (
    "#d6133f", "#1f7d33", "#3a5bd0", "#c04a00", "#911eb4",
    "#007a7a", "#7a4f1d", "#800000", "#6b6b00", "#c01fb0",
)  # fmt: skip
"""Colours of boxes, in order; white text on each has a contrast of 4.5 or more."""

Edges = tuple[float, float, float, float]
"""A box (ymin, xmin, ymax, xmax), relative to the image."""

MAX_SIDE = 8192
"""Largest side of a drawn image in pixels; JPEG has a limit of 65,500."""

_PANEL = 240
_PANELS_A_ROW = 4


def as_edges(box: Sequence[float] | np.ndarray) -> Edges:
    """Returns a box as four Python numbers."""
    top, left, bottom, right = (float(edge) for edge in box)
    return top, left, bottom, right


def place_in_words(box: Sequence[float]) -> str:
    """Says in words where a box is.

    Args:
        box: (ymin, xmin, ymax, xmax), relative to the image.

    Example:
        >>> place_in_words((0.0, 0.0, 0.5, 0.2))
        'top left, 10 % of the image'
    """
    top, left, bottom, right = (float(edge) for edge in box)
    area = (bottom - top) * (right - left)
    if area > 0.999:
        return "the whole image"
    row = ("top", "", "bottom")[min(2, int(1.5 * (top + bottom)))]
    column = ("left", "", "right")[min(2, int(1.5 * (left + right)))]
    where = " ".join(part for part in (row, column) if part) or "centre"
    return f"{where}, {100 * area:.0f} % of the image"


def draw_regions(
    image: Image.Image, boxes: np.ndarray, texts: Sequence[str], caption: str = ""
) -> Image.Image:
    """Draws boxes with their texts, and a caption below the image.

    Args:
        image: Any image; it is scaled so that its shorter side has at least 480 pixels, but its
            longer side at most `MAX_SIDE`.
        boxes: Float array [N, 4], `rel_yxyx`.
        texts: N texts, drawn at the top of their boxes in the colour of the box.
        caption: Text below the image.

    Returns:
        A new RGB image.
    """
    scale = min(max(1.0, 480 / min(image.size)), MAX_SIDE / max(image.size))
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    canvas = image.convert("RGB").resize(size, Image.Resampling.LANCZOS)
    draw = ImageDraw.Draw(canvas)
    draw.font = font = ImageFont.load_default(max(13, min(size[1] // 34, size[0] // 20)))
    for number, (box, text) in enumerate(zip(boxes, texts, strict=True)):
        colour = COLOURS[number % len(COLOURS)]
        top, left, bottom, right = (box * [size[1], size[0], size[1], size[0]]).tolist()
        bottom, right = max(bottom, top + 1), max(right, left + 1)
        draw.rectangle((left - 1, top - 1, right, bottom), outline="white", width=5)
        draw.rectangle((left, top, right - 1, bottom - 1), outline=colour, width=3)
        if text:
            _label(draw, size, (left, top), text, colour)
    if not caption:
        return canvas
    columns = max(1, int((size[0] - 16) / font.getlength("n")))
    text = "\n".join(textwrap.wrap(caption, columns))
    below = draw.multiline_textbbox((8, size[1] + 6), text, font=font)[3] + 8
    framed = Image.new("RGB", (size[0], round(below)), "white")
    framed.paste(canvas, (0, 0))
    ImageDraw.Draw(framed).multiline_text((8, size[1] + 6), text, fill="black", font=font)
    return framed


def draw_attention(
    image: Image.Image, words: Sequence[str], attention: np.ndarray, boxes: np.ndarray
) -> Image.Image:
    """Draws an image once for every word, dark where the word has little attention.

    Where boxes overlap, the parts of their weights above the mean are added.

    Args:
        image: Any image.
        words: W words.
        attention: Float array [W, R]; the weights of a word sum to 1.
        boxes: Float array [R, 4], `rel_yxyx`.

    Returns:
        A new RGB image with four panels in a row.
    """
    scale = _PANEL / max(image.size)
    width, height = (max(1, round(scale * side)) for side in image.size)
    pixels = np.asarray(image.convert("RGB").resize((width, height)), np.float32)
    columns = min(_PANELS_A_ROW, max(1, len(words)))
    rows = -(-len(words) // columns)
    font = ImageFont.load_default(_PANEL // 12)
    line = _PANEL // 7
    sheet = Image.new("RGB", (columns * (_PANEL + 8), rows * (height + line + 8)), "white")
    draw = ImageDraw.Draw(sheet)
    y, x = (np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width
    inside_y = (boxes[:, :1] <= y) & (y < boxes[:, 2:3])
    inside_x = (boxes[:, 1:2] <= x) & (x < boxes[:, 3:])
    for number, (word, weights) in enumerate(zip(words, attention, strict=True)):
        above = np.maximum(weights - 1 / len(weights), 0)
        heat = np.einsum("r,ry,rx->yx", above, inside_y, inside_x)
        share = (heat - heat.min()) / max(float(np.ptp(heat)), 1e-6)
        panel = pixels * (0.4 + 0.6 * share[:, :, np.newaxis])
        left = (number % columns) * (_PANEL + 8)
        top = (number // columns) * (height + line + 8)
        draw.text((left + 4, top), word, fill="black", font=font)
        sheet.paste(Image.fromarray(panel.astype(np.uint8)), (left, top + line))
    return sheet


def as_jpeg(image: Image.Image, quality: int = 85) -> bytes:
    """Encodes an image as JPEG."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def _label(
    draw: ImageDraw.ImageDraw,
    size: tuple[int, int],
    corner: tuple[float, float],
    text: str,
    colour: str,
) -> None:
    """Draws a text at the corner of a box, shortened and moved so that it is inside the image."""
    width, height = size
    while len(text) > 1 and draw.textlength(text) > width - 6:
        text = text.rstrip("…")[:-1].rstrip() + "…"
    _, _, right, bottom = draw.textbbox(corner, text)
    x, y = corner[0] + min(0, width - 6 - right), corner[1] + min(0, height - 6 - bottom)
    left, top, right, bottom = draw.textbbox((x, y), text)
    draw.rectangle((left, top, right + 6, bottom + 4), fill=colour)
    draw.text((x + 3, y + 1), text, fill="white")
