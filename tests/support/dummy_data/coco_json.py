"""Writes dummy images as `images/`, `captions.json` and `regions.json`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dummy_data.images import DummyImage, write_images


def write(folder: Path, images: Sequence[DummyImage]) -> None:
    """Writes the images in the format of the dataset.

    Args:
        folder: Existing folder to write into.
        images: Images to write.
    """
    write_images(folder / "images", images)
    entries: list[dict[str, Any]] = []
    captions: list[dict[str, Any]] = []
    regions: list[dict[str, Any]] = []
    for image in images:
        width, height = image.size
        entries.append(
            {
                "id": image.number,
                "file_name": image.name,
                "width": width,
                "height": height,
                "split": image.split,
            }
        )
        first_id = len(captions)
        for sentence in image.sentences:
            captions.append({"id": len(captions), "image_id": image.number, "caption": sentence})
        for phrase in image.phrases:
            x1, y1, x2, y2 = phrase.box
            regions.append(
                {
                    "id": len(regions),
                    "image_id": image.number,
                    "caption_id": first_id + phrase.sentence,
                    "phrase": phrase.text,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "object_id": phrase.object,
                }
            )
    _write(folder / "captions.json", {"images": entries, "annotations": captions})
    _write(folder / "regions.json", {"annotations": regions})


def _write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
