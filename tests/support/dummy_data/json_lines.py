"""Writes dummy images as `images/` and `captions.jsonl`."""

import json
from collections.abc import Sequence
from pathlib import Path

from dummy_data.images import DummyImage, write_images


def write(folder: Path, images: Sequence[DummyImage]) -> None:
    """Writes the images in the format of the dataset.

    Args:
        folder: Existing folder to write into.
        images: Images to write.
    """
    write_images(folder / "images", images)
    lines = []
    for image in images:
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
            for phrase in image.phrases
        ]
        line = {
            "image": image.name,
            "sentences": image.sentences,
            "split": image.split,
            "phrases": phrases,
        }
        lines.append(json.dumps(line, ensure_ascii=False) + "\n")
    (folder / "captions.jsonl").write_text("".join(lines), encoding="utf-8")
