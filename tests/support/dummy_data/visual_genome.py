"""Writes dummy images as Visual Genome, in both spellings of its fields."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dummy_data.images import DummyImage
from visem_tf.datasets import schema
from visem_tf.datasets.visual_genome.visual_genome_dataset_builder import IMAGES, REGIONS, SPLITS


def write(folder: Path, images: Sequence[DummyImage]) -> None:
    """Writes the images in the format of the dataset, in two folders.

    Args:
        folder: Existing folder to write into.
        images: Images to write.
    """
    entries: list[dict[str, Any]] = []
    sizes = []
    for number, image in enumerate(images):
        place = folder / ("VG_100K_2" if number % 2 else "VG_100K")
        place.mkdir(exist_ok=True)
        (place / image.name).write_bytes(image.jpeg)
        width, height = image.size
        sizes.append({"image_id": image.number, "width": width, "height": height})
        regions: list[dict[str, Any]] = []
        for phrase in image.phrases:
            x1, y1, x2, y2 = phrase.box
            names = ("image", "id") if number % 2 else ("image_id", "region_id")
            regions.append(
                {
                    names[0]: image.number,
                    names[1]: len(regions),
                    "phrase": phrase.text,
                    "x": x1,
                    "y": y1,
                    "width": x2 - x1,
                    "height": y2 - y1,
                }
            )
        entries.append({"id": image.number, "regions": regions})
    splits = {
        split: [image.number for image in images if image.split == split] for split in schema.SPLITS
    }
    for name, content in ((REGIONS, entries), (IMAGES, sizes), (SPLITS, splits)):
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
