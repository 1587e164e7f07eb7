"""Writes drawn pictures as `images/` and `captions.jsonl`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from visem_tf.datasets.dummy_data import DummyPicture, write_pictures


def write(folder: Path, pictures: Sequence[DummyPicture]) -> None:
    """Writes the pictures in the format of the data set.

    Args:
        folder: exists.
        pictures: what is written.
    """
    write_pictures(folder / "images", pictures)
    lines = []
    for picture in pictures:
        phrases = [
            {
                "sentence": phrase.sentence,
                "text": phrase.text,
                "bbox": [
                    phrase.box[0],
                    phrase.box[1],
                    phrase.box[2] - phrase.box[0],
                    phrase.box[3] - phrase.box[1],
                ],
                "object": phrase.object,
            }
            for phrase in picture.phrases
        ]
        line = {
            "image": picture.name,
            "sentences": picture.sentences,
            "split": picture.split,
            "phrases": phrases,
        }
        lines.append(json.dumps(line, ensure_ascii=False) + "\n")
    (folder / "captions.jsonl").write_text("".join(lines), encoding="utf-8")
