"""Writes dummy images with a text beside each, in the folders `train`, `val` and `test`."""

from collections.abc import Sequence
from pathlib import Path

from dummy_data.images import DummyImage


def write(folder: Path, images: Sequence[DummyImage]) -> None:
    """Writes the images in the format of the dataset.

    Args:
        folder: Existing folder to write into.
        images: Images to write.
    """
    for image in images:
        (folder / image.split).mkdir(exist_ok=True)
        path = folder / image.split / image.name
        path.write_bytes(image.jpeg)
        path.with_suffix(".txt").write_text("\n".join(image.sentences) + "\n", encoding="utf-8")
