"""Words and regions in their shared embedding space, for TensorBoard's projector."""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from google.protobuf import text_format
from PIL import Image, ImageDraw, ImageFont
from tensorboard.plugins import projector

from visem_tf.runtime.files import write_atomically

_TILE = 48


@dataclass(frozen=True)
class Point:
    """A point of the embedding space.

    Attributes:
        name: The word, or the file name of the image of the region.
        image: Image of the region; None for a word, which is drawn as text.
    """

    name: str
    image: Image.Image | None = None


def write_projector(log_dir: Path, points: Sequence[Point], embeddings: np.ndarray) -> None:
    """Writes embeddings, their names and their images for the projector.

    Args:
        log_dir: Folder of the event files.
        points: N points.
        embeddings: Float array [N, D].
    """
    folder = log_dir / "projector"
    values = np.ascontiguousarray(embeddings, "<f4")
    write_atomically(folder / "embeddings.bytes", values.tobytes())
    rows = [
        f"{' '.join(point.name.split())}\t{'region' if point.image else 'word'}"
        for point, _ in zip(points, embeddings, strict=True)
    ]
    write_atomically(folder / "names.tsv", "\n".join(["name\tkind", *rows]) + "\n")
    buffer = io.BytesIO()
    _sprite(points).save(buffer, "PNG")
    write_atomically(folder / "pictures.png", buffer.getvalue())
    config = projector.ProjectorConfig()
    embedding = config.embeddings.add()
    embedding.tensor_name = "words and regions"
    embedding.tensor_shape.extend(values.shape)
    embedding.tensor_path = "projector/embeddings.bytes"
    embedding.metadata_path = "projector/names.tsv"
    embedding.sprite.image_path = "projector/pictures.png"
    embedding.sprite.single_image_dim.extend([_TILE, _TILE])
    write_atomically(log_dir / "projector_config.pbtxt", text_format.MessageToString(config))


def _sprite(points: Sequence[Point]) -> Image.Image:
    """Arranges all images in a square, row by row, as the projector expects them."""
    columns = max(1, math.ceil(math.sqrt(len(points))))
    sprite = Image.new("RGB", (columns * _TILE, columns * _TILE), "white")
    for number, point in enumerate(points):
        tile = point.image.convert("RGB") if point.image else _word(point.name)
        row, column = divmod(number, columns)
        sprite.paste(tile.resize((_TILE, _TILE)), (column * _TILE, row * _TILE))
    return sprite


def _word(text: str) -> Image.Image:
    tile = Image.new("RGB", (_TILE, _TILE), "#fff4c2")
    fonts = [ImageFont.load_default(size) for size in range(16, 6, -1)]
    font = next((font for font in fonts if font.getlength(text) <= _TILE - 4), fonts[-1])
    centre = (_TILE / 2, _TILE / 2)
    ImageDraw.Draw(tile).text(centre, text, fill="black", font=font, anchor="mm")
    return tile
