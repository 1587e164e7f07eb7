"""Words and regions in their shared space, for TensorBoard's embedding projector."""

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
    """A point of the space with what stands at it.

    Attributes:
      kind: "word" or "region".
      name: The word, or the picture's file name.
      picture: What shows the region; None for a word, which shows itself.
    """

    kind: str
    name: str
    picture: Image.Image | None = None


def write_projector(log_dir: Path, points: Sequence[Point], embeddings: np.ndarray) -> None:
    """Writes what the projector shows: the embeddings, their names and their pictures.

    Args:
      log_dir: Where event files stand.
      points: N of them.
      embeddings: float [N, D].

    Raises:
      ValueError: The two differ in length.
    """
    if len(points) != len(embeddings):
        raise ValueError(
            f"points and embeddings must be as many, not {len(points)} and {len(embeddings)}"
        )
    folder = log_dir / "projector"
    values = np.ascontiguousarray(embeddings, "<f4")
    write_atomically(folder / "embeddings.bytes", values.tobytes())
    rows = [f"{' '.join(point.name.split())}\t{point.kind}" for point in points]
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
    """All pictures in rows, as the projector wants them: as many rows as columns, at most."""
    columns = max(1, math.ceil(math.sqrt(len(points))))
    sprite = Image.new("RGB", (columns * _TILE, columns * _TILE), "white")
    for number, point in enumerate(points):
        tile = point.picture.convert("RGB") if point.picture else _word(point.name)
        row, column = divmod(number, columns)
        sprite.paste(tile.resize((_TILE, _TILE)), (column * _TILE, row * _TILE))
    return sprite


def _word(text: str) -> Image.Image:
    tile = Image.new("RGB", (_TILE, _TILE), "#fff4c2")
    draw = ImageDraw.Draw(tile)
    size = 16
    while size > 7 and ImageFont.load_default(size).getlength(text) > _TILE - 4:
        size -= 1
    draw.text(
        (_TILE / 2, _TILE / 2), text, fill="black", font=ImageFont.load_default(size), anchor="mm"
    )
    return tile
