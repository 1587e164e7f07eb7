"""A few drawn images with sentences and boxes, which the tests write in every format that is read.

Each module writes one format, by a function `write(folder, images)`.
"""

import importlib
from collections.abc import Sequence
from pathlib import Path

from dummy_data.images import DummyImage, draw_images

__all__ = ["DummyImage", "draw_images", "write"]


def write(name: str, folder: Path, images: Sequence[DummyImage]) -> None:
    """Writes images in the format of a dataset.

    Args:
        name: Name of a dataset that is read from a folder, such as "coco_json".
        folder: Folder to write into; it is made if it is missing.
        images: Images to write.
    """
    folder.mkdir(parents=True, exist_ok=True)
    importlib.import_module(f"dummy_data.{name}").write(folder, images)
