"""Writes drawn pictures as `images/`, `captions.json` and `regions.json`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from visem_tf.datasets.dummy_data import DummyPicture, write_pictures


def write(folder: Path, pictures: Sequence[DummyPicture]) -> None:
    """Writes the pictures in the format of the data set.

    Args:
        folder: exists.
        pictures: what is written.
    """
    write_pictures(folder / "images", pictures)
    images: list[dict[str, Any]] = []
    captions: list[dict[str, Any]] = []
    regions: list[dict[str, Any]] = []
    for picture in pictures:
        width, height = picture.size
        images.append(
            {
                "id": picture.number,
                "file_name": picture.name,
                "width": width,
                "height": height,
                "split": picture.split,
            }
        )
        first_id = len(captions)
        for sentence in picture.sentences:
            captions.append({"id": len(captions), "image_id": picture.number, "caption": sentence})
        for phrase in picture.phrases:
            x1, y1, x2, y2 = phrase.box
            regions.append(
                {
                    "id": len(regions),
                    "image_id": picture.number,
                    "caption_id": first_id + phrase.sentence,
                    "phrase": phrase.text,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "object_id": phrase.object,
                }
            )
    _write(folder / "captions.json", {"images": images, "annotations": captions})
    _write(folder / "regions.json", {"annotations": regions})


def _write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
