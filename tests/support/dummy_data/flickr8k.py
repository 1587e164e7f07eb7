"""Writes dummy images in the form in which Flickr8K is distributed."""

from collections.abc import Sequence
from pathlib import Path

from dummy_data.images import DummyImage, write_images
from visem_tf.datasets.flickr8k.flickr8k_dataset_builder import (
    PICTURE_FOLDERS,
    SPLIT_FILES,
    TOKEN_FILE,
)


def write(folder: Path, images: Sequence[DummyImage]) -> None:
    """Writes the images in the format of the dataset.

    Args:
        folder: Existing folder to write into.
        images: Images to write.
    """
    write_images(folder / PICTURE_FOLDERS[0], images)
    lines = [
        f"{image.name}#{number}\t{sentence}\n"
        for image in images
        for number, sentence in enumerate(image.sentences)
    ]
    (folder / TOKEN_FILE).write_text("".join(lines), encoding="utf-8")
    for split, name in SPLIT_FILES.items():
        names = [f"{image.name}\n" for image in images if image.split == split]
        (folder / name).write_text("".join(names), encoding="utf-8")
