"""Writes dummy images as `images/` and `dataset.json`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dummy_data.images import DummyImage, write_images


def write(folder: Path, images: Sequence[DummyImage]) -> None:
    """Writes the images in the format of the dataset.

    Args:
        folder: Existing folder to write into.
        images: Images to write.
    """
    write_images(folder / "images", images)
    text = json.dumps(dataset_json(images, "dummy"), ensure_ascii=False)
    (folder / "dataset.json").write_text(text, encoding="utf-8")


def dataset_json(images: Sequence[DummyImage], name: str) -> dict[str, Any]:
    """Returns the content of Karpathy's file.

    Args:
        images: Images in the order of their `imgid`.
        name: Name of the dataset to write.
    """
    entries = []
    sentence_id = 0
    for image_id, image in enumerate(images):
        sentences = []
        for raw in image.sentences:
            tokens = raw.lower().replace(".", "").split()
            sentences.append(
                {"tokens": tokens, "raw": raw, "imgid": image_id, "sentid": sentence_id}
            )
            sentence_id += 1
        entries.append(
            {
                "imgid": image_id,
                "filename": image.name,
                "split": image.split,
                "sentids": [sentence["sentid"] for sentence in sentences],
                "sentences": sentences,
            }
        )
    return {"dataset": name, "images": entries}
