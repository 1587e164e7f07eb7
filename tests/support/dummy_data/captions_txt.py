"""Writes dummy images as `images/`, `captions.txt` and the lists of the splits."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from dummy_data.images import DummyImage, write_images
from visem_tf.datasets import schema


def write(folder: Path, images: Sequence[DummyImage]) -> None:
    """Writes the images in the format of the dataset.

    Args:
        folder: Existing folder to write into.
        images: Images to write.
    """
    write_images(folder / "images", images)
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    writer.writerow(("image", "caption"))
    for image in images:
        writer.writerows((image.name, sentence) for sentence in image.sentences)
    (folder / "captions.txt").write_text(buffer.getvalue(), encoding="utf-8", newline="")
    for split in schema.SPLITS:
        names = [image.name for image in images if image.split == split]
        (folder / f"{split}.txt").write_text("\n".join(names) + "\n", encoding="utf-8")
