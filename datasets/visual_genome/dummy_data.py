"""Writes drawn pictures as Visual Genome, in both spellings of its fields."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from visem_tf.datasets import schema
from visem_tf.datasets.dummy_data import DummyPicture
from visem_tf.datasets.visual_genome.visual_genome_dataset_builder import IMAGES, REGIONS, SPLITS


def write(folder: Path, pictures: Sequence[DummyPicture]) -> None:
    """Writes the pictures in the format of the data set, every other one in either folder.

    Args:
        folder: exists.
        pictures: what is written.
    """
    images: list[dict[str, Any]] = []
    sizes = []
    for number, picture in enumerate(pictures):
        place = folder / ("VG_100K_2" if number % 2 else "VG_100K")
        place.mkdir(exist_ok=True)
        (place / picture.name).write_bytes(picture.jpeg)
        width, height = picture.size
        sizes.append({"image_id": picture.number, "width": width, "height": height})
        regions: list[dict[str, Any]] = []
        for phrase in picture.phrases:
            x1, y1, x2, y2 = phrase.box
            names = ("image", "id") if number % 2 else ("image_id", "region_id")
            regions.append(
                {
                    names[0]: picture.number,
                    names[1]: len(regions),
                    "phrase": phrase.text,
                    "x": x1,
                    "y": y1,
                    "width": x2 - x1,
                    "height": y2 - y1,
                }
            )
        images.append({"id": picture.number, "regions": regions})
    splits = {
        split: [picture.number for picture in pictures if picture.split == split]
        for split in schema.SPLITS
    }
    for name, content in ((REGIONS, images), (IMAGES, sizes), (SPLITS, splits)):
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
