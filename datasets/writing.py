"""Writes a data set in COCO's format, as the data set `coco_json` reads it."""

from __future__ import annotations

import io
import json
from pathlib import PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from visem_tf.datasets.caption_dataset import CaptionDataset, Split
from visem_tf.errors import UserError
from visem_tf.runtime.files import write_atomically
from visem_tf.runtime.storage import AnyPath


def write_coco(data: CaptionDataset, folder: AnyPath) -> None:
    """Writes `images/`, `captions.json` and, where phrases have boxes, `regions.json`.

    Pictures are written as they are prepared: a name whose ending is not that of the content gets
    the right one. Image ids are numbers from 1; the name of the file tells which picture it is.

    Args:
        data: has pictures.
        folder: made if it is missing.

    Raises:
        UserError: the data set has features and no pictures.
    """
    if any(split.regions is not None for split in data.splits.values()):
        raise UserError(f"{data.name} has features and no pictures; choose --format cache or scan")
    images: list[dict[str, Any]] = []
    captions: list[dict[str, Any]] = []
    regions: list[dict[str, Any]] = []
    for split in data.splits.values():
        first_image, first_caption = len(images) + 1, len(captions) + 1
        for name, encoded in zip(
            split.file_names, split.pictures().as_numpy_iterator(), strict=True
        ):
            with Image.open(io.BytesIO(encoded)) as picture:
                (width, height), kind = picture.size, picture.format
            file_name = _with_ending(name, kind or "")
            write_atomically(folder / "images" / file_name, encoded)
            images.append(
                {
                    "id": len(images) + 1,
                    "file_name": file_name,
                    "width": width,
                    "height": height,
                    "split": split.name,
                }
            )
        for image, sentence in zip(split.image_index.tolist(), split.sentences, strict=True):
            captions.append(
                {"id": len(captions) + 1, "image_id": first_image + image, "caption": sentence}
            )
        regions += _regions(split, images, first_image, first_caption, len(regions) + 1)
    _write(folder / "captions.json", {"images": images, "annotations": captions})
    if regions:
        _write(folder / "regions.json", {"annotations": regions})


def _regions(
    split: Split, images: list[dict[str, Any]], first_image: int, first_caption: int, number: int
) -> list[dict[str, Any]]:
    """The phrases of a split, with pixel boxes [x, y, width, height]."""
    if split.phrases is None:
        return []
    found = []
    phrases = split.phrases
    for row, sentence in enumerate(phrases.sentence_index.tolist()):
        image = first_image + int(split.image_index[sentence])
        size = images[image - 1]["height"], images[image - 1]["width"]
        ymin, xmin, ymax, xmax = (phrases.boxes[row].astype(np.float64) * [*size, *size]).tolist()
        found.append(
            {
                "id": number + row,
                "image_id": image,
                "caption_id": first_caption + sentence,
                "phrase": phrases.text[row],
                "bbox": [round(edge, 3) for edge in (xmin, ymin, xmax - xmin, ymax - ymin)],
                "object_id": int(phrases.object[row]),
            }
        )
    return found


def _with_ending(name: str, kind: str) -> str:
    ending = {"PNG": ".png"}.get(kind, ".jpg")
    path = PurePosixPath(name)
    usual = {".png": (".png",), ".jpg": (".jpg", ".jpeg", ".jpe")}[ending]
    return name if path.suffix.lower() in usual else f"{name}{ending}"


def _write(path: AnyPath, content: Any) -> None:
    text = json.dumps(content, ensure_ascii=False) + "\n"
    write_atomically(path, text.encode("utf-8", "replace"))
