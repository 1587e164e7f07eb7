"""Writes dummy images with `metadata.csv`, in the folders `train`, `validation` and `test`."""

import csv
from collections.abc import Sequence
from pathlib import Path

from dummy_data.images import DummyImage, write_images

FOLDERS = {"train": "train", "val": "validation", "test": "test"}


def write(folder: Path, images: Sequence[DummyImage]) -> None:
    """Writes the images in the format of the dataset.

    Args:
        folder: Existing folder to write into.
        images: Images to write.
    """
    for split, name in FOLDERS.items():
        part = [image for image in images if image.split == split]
        write_images(folder / name, part)
        with (folder / name / "metadata.csv").open("w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["file_name", "text"])
            rows.writerows([image.name, text] for image in part for text in image.sentences)
