"""Writes drawn pictures as `images/`, `captions.txt` and the lists of the splits."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from visem_tf.datasets import schema
from visem_tf.datasets.dummy_data import DummyPicture, write_pictures


def write(folder: Path, pictures: Sequence[DummyPicture]) -> None:
    """Writes the pictures in the format of the data set.

    Args:
        folder: exists.
        pictures: what is written.
    """
    write_pictures(folder / "images", pictures)
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    writer.writerow(("image", "caption"))
    for picture in pictures:
        writer.writerows((picture.name, sentence) for sentence in picture.sentences)
    (folder / "captions.txt").write_text(buffer.getvalue(), encoding="utf-8", newline="")
    for split in schema.SPLITS:
        names = [picture.name for picture in pictures if picture.split == split]
        (folder / f"{split}.txt").write_text("\n".join(names) + "\n", encoding="utf-8")
