"""Writes drawn pictures in the form in which Flickr8K is distributed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from visem_tf.datasets.dummy_data import DummyPicture, write_pictures
from visem_tf.datasets.flickr8k.flickr8k_dataset_builder import (
    PICTURE_FOLDERS,
    SPLIT_FILES,
    TOKEN_FILE,
)


def write(folder: Path, pictures: Sequence[DummyPicture]) -> None:
    """Writes the pictures in the format of the data set.

    Args:
        folder: exists.
        pictures: what is written.
    """
    write_pictures(folder / PICTURE_FOLDERS[0], pictures)
    lines = [
        f"{picture.name}#{number}\t{sentence}\n"
        for picture in pictures
        for number, sentence in enumerate(picture.sentences)
    ]
    (folder / TOKEN_FILE).write_text("".join(lines), encoding="utf-8")
    for split, name in SPLIT_FILES.items():
        names = [f"{picture.name}\n" for picture in pictures if picture.split == split]
        (folder / name).write_text("".join(names), encoding="utf-8")
