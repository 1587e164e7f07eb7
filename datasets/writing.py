"""Writes a dataset in COCO's format, as the dataset `coco_json` reads it."""

import io
from pathlib import PurePosixPath
from typing import Any

from PIL import Image

from visem_tf.datasets.caption_dataset import CaptionDataset
from visem_tf.datasets.records import Box
from visem_tf.errors import UserError
from visem_tf.runtime.files import write_atomically
from visem_tf.runtime.json_files import write_json
from visem_tf.runtime.storage import AnyPath


def write_coco(data: CaptionDataset, folder: AnyPath) -> None:
    """Writes `images/`, `captions.json` and, if phrases have boxes, `regions.json`.

    Images are written as they are prepared, and their names get a suffix that fits their content.
    Image ids are numbers from 1.

    Args:
        data: Dataset with images.
        folder: Folder to write to; created if missing.

    Raises:
        UserError: If the dataset has precomputed features and no images.
    """
    if any(split.regions is not None for split in data.splits.values()):
        raise UserError(f"{data.name} has features and no images; choose --format cache or scan")
    images: list[dict[str, Any]] = []
    captions: list[dict[str, Any]] = []
    regions: list[dict[str, Any]] = []
    for split in data.splits.values():
        first_image, first_caption = len(images) + 1, len(captions) + 1
        pictures = split.pictures().as_numpy_iterator()
        for name, encoded in zip(split.file_names, pictures, strict=True):
            with Image.open(io.BytesIO(encoded)) as opened:
                (width, height), image_format = opened.size, opened.format
            file_name = _with_suffix(name, image_format or "")
            write_atomically(folder / "images" / file_name, encoded)
            images.append(
                {
                    "id": len(images) + 1,
                    "file_name": file_name,
                    "width": width,
                    "height": height,
                    "split": split.name,
                }
            )
        for image, sentence in zip(split.image_index.tolist(), split.sentences, strict=True):
            captions.append(
                {"id": len(captions) + 1, "image_id": first_image + image, "caption": sentence}
            )
        for image, phrases, first in zip(
            images[first_image - 1 :],
            split.phrases_of_images(),
            split.first_sentences.tolist(),
            strict=True,
        ):
            regions += [
                {
                    "id": len(regions) + number,
                    "image_id": image["id"],
                    "caption_id": first_caption + first + phrase.sentence,
                    "phrase": phrase.text,
                    "first": phrase.first,
                    "bbox": _pixels(phrase.box, image["width"], image["height"]),
                    "object_id": phrase.object,
                    **({"type": phrase.type} if phrase.type else {}),
                }
                for number, phrase in enumerate(phrases, start=1)
            ]
    write_json(folder / "captions.json", {"images": images, "annotations": captions}, None)
    if regions:
        write_json(folder / "regions.json", {"annotations": regions}, None)


def _pixels(box: Box, width: int, height: int) -> list[float]:
    """Returns a relative box as [x, y, width, height] in pixels."""
    ymin, xmin, ymax, xmax = box[0] * height, box[1] * width, box[2] * height, box[3] * width
    return [round(edge, 3) for edge in (xmin, ymin, xmax - xmin, ymax - ymin)]


def _with_suffix(name: str, image_format: str) -> str:
    usual = (".png",) if image_format == "PNG" else (".jpg", ".jpeg", ".jpe")
    return name if PurePosixPath(name).suffix.lower() in usual else f"{name}{usual[0]}"
