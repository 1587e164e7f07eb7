"""Writes drawn pictures as `images/` and `dataset.json`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from visem_tf.datasets.dummy_data import DummyPicture, write_pictures


def write(folder: Path, pictures: Sequence[DummyPicture]) -> None:
    """Writes the pictures in the format of the data set.

    Args:
        folder: exists.
        pictures: what is written.
    """
    write_pictures(folder / "images", pictures)
    text = json.dumps(dataset_json(pictures, "dummy"), ensure_ascii=False)
    (folder / "dataset.json").write_text(text, encoding="utf-8")


def dataset_json(pictures: Sequence[DummyPicture], name: str) -> dict[str, Any]:
    """Returns the content of Karpathy's file.

    Args:
        pictures: in the order of their `imgid`.
        name: the name of the data set in it.
    """
    images = []
    sentence_id = 0
    for image_id, picture in enumerate(pictures):
        sentences = []
        for raw in picture.sentences:
            tokens = raw.lower().replace(".", "").split()
            sentences.append(
                {"tokens": tokens, "raw": raw, "imgid": image_id, "sentid": sentence_id}
            )
            sentence_id += 1
        images.append(
            {
                "imgid": image_id,
                "filename": picture.name,
                "split": picture.split,
                "sentids": [sentence["sentid"] for sentence in sentences],
                "sentences": sentences,
            }
        )
    return {"dataset": name, "images": images}
