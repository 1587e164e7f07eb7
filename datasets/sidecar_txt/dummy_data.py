"""Writes drawn pictures with a text beside each, in the folders `train`, `val` and `test`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from visem_tf.datasets.dummy_data import DummyPicture


def write(folder: Path, pictures: Sequence[DummyPicture]) -> None:
    """Writes the pictures in the format of the data set.

    Args:
        folder: exists.
        pictures: what is written.
    """
    for picture in pictures:
        (folder / picture.split).mkdir(exist_ok=True)
        path = folder / picture.split / picture.name
        path.write_bytes(picture.jpeg)
        path.with_suffix(".txt").write_text("\n".join(picture.sentences) + "\n", encoding="utf-8")
