"""Writes dummy images as COCO's folders of 2014, with Karpathy's splits."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dummy_data.images import DummyImage

CATEGORIES = {1: "circle", 2: "heart", **{number: f"kind {number}" for number in range(3, 81)}}
"""Eighty categories, as COCO has; some of the shapes that are drawn are among them."""


def write(folder: Path, images: Sequence[DummyImage]) -> None:
    """Writes the images in the format of the dataset.

    The last training image is `restval`, which lies among the images of val.

    Args:
        folder: Existing folder to write into.
        images: Images to write.
    """
    (folder / "annotations").mkdir(exist_ok=True)
    last_train = [image for image in images if image.split == "train"][-1]
    entries: list[dict[str, Any]] = []
    contents: dict[str, dict[str, list[dict[str, Any]]]] = {
        part: {"images": [], "captions": [], "instances": []} for part in ("train", "val")
    }
    caption_id = 0
    for number, image in enumerate(images):
        is_train = image.split == "train" and image is not last_train
        part = "train" if is_train else "val"
        name = f"COCO_{part}2014_{image.number:012d}.jpg"
        (folder / f"{part}2014").mkdir(exist_ok=True)
        (folder / f"{part}2014" / name).write_bytes(image.jpeg)
        width, height = image.size
        entry = {"id": image.number, "file_name": name, "width": width, "height": height}
        contents[part]["images"].append(entry)
        sentences = []
        for raw in image.sentences:
            contents[part]["captions"].append(
                {"id": caption_id, "image_id": image.number, "caption": raw}
            )
            sentences.append(
                {"tokens": raw.split(), "raw": raw, "imgid": number, "sentid": caption_id}
            )
            caption_id += 1
        contents[part]["instances"] += _instances(image)
        entries.append(
            {
                "imgid": number,
                "cocoid": image.number,
                "filepath": f"{part}2014",
                "filename": name,
                "split": "restval" if image is last_train else image.split,
                "sentids": [sentence["sentid"] for sentence in sentences],
                "sentences": sentences,
            }
        )
    categories = [{"id": number, "name": name} for number, name in CATEGORIES.items()]
    for part, content in contents.items():
        captions = {"images": content["images"], "annotations": content["captions"]}
        _write(folder / "annotations" / f"captions_{part}2014.json", captions)
        instances = {"images": content["images"], "annotations": content["instances"]}
        path = folder / "annotations" / f"instances_{part}2014.json"
        _write(path, {**instances, "categories": categories})
    _write(folder / "dataset_coco.json", {"dataset": "coco", "images": entries})


def _instances(image: DummyImage) -> list[dict[str, Any]]:
    """The boxes of those objects whose phrases end in the name of a category."""
    found = {}
    for phrase in image.phrases:
        for category, name in CATEGORIES.items():
            if phrase.text.split()[-1] == name:
                x1, y1, x2, y2 = phrase.box
                found[phrase.object] = {
                    "id": image.number * 100 + phrase.object,
                    "image_id": image.number,
                    "category_id": category,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1),
                    "iscrowd": 0,
                }
    return list(found.values())


def _write(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
