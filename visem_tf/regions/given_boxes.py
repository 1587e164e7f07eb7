"""Boxes that a user gives instead of proposed ones: reading them, and extracting their features.

Four kinds of JSON files are read: a list of boxes for every image; an object of lists by file name;
what `python -m visem_tf.describe --json` writes; and COCO's `{"images", "annotations"}`.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from visem_tf.errors import UserError
from visem_tf.regions.extractor import FRAME, RegionExtractor, Regions
from visem_tf.runtime.storage import AnyPath, read_regular, reason_of

BOX_FORMATS = ("rel_yxyx", "rel_xyxy", "yxyx", "xyxy", "xywh", "center_xywh")
"""Formats of boxes, by KerasCV's names; without `rel_` they are in pixels."""

MAX_BOXES = 1000
"""Largest number of boxes of an image."""

_MAX_EDGE = 1e9


@dataclass(frozen=True)
class GivenBoxes:
    """The boxes of some images.

    Args:
        by_name: Lists of boxes by file name or path; the key "" stands for all other images.
        box_format: One of `BOX_FORMATS`.
        source: Name of the boxes in errors.
    """

    by_name: Mapping[str, Sequence[Any]]
    box_format: str
    source: str = "the boxes"

    def has(self, path: AnyPath) -> bool:
        """Returns whether there are boxes for an image."""
        return self._key(path) is not None

    def of(self, path: AnyPath, size: tuple[int, int]) -> np.ndarray:
        """Returns the boxes of an image, clipped at its border.

        Args:
            path: Path of the image; its boxes are found by the whole path, or else by the name.
            size: Width and height of the upright image in pixels.

        Returns:
            float32 array [N, 4], `rel_yxyx`; N is 0 if there are none.

        Raises:
            UserError: A box is not four numbers, or has no area inside the image.
        """
        key = self._key(path)
        given = self.by_name[key] if key is not None else []
        if not isinstance(given, list) or len(given) > MAX_BOXES:
            raise UserError(
                f"{self.source}: the boxes of {path} must be a list of at most {MAX_BOXES}"
            )
        for number, box in enumerate(given, start=1):
            if not _is_box(box):
                raise UserError(
                    f"{self.source}: box {number} of {path} must be four numbers, not {box!r}"
                )
        if not given:
            return np.zeros([0, 4], np.float32)
        import keras_cv

        converted = keras_cv.bounding_box.convert_format(
            np.array(given, np.float32),
            source=self.box_format,
            target="rel_yxyx",
            image_shape=(size[1], size[0], 3),
        )
        boxes = np.clip(np.asarray(converted, np.float32), 0, 1)
        empty = (boxes[:, 2] <= boxes[:, 0]) | (boxes[:, 3] <= boxes[:, 1])
        if empty.any():
            number = int(np.argmax(empty))
            raise UserError(
                f"{self.source}: box {number + 1} of {path}, {given[number]}, has no area inside "
                f"the image of {size[0]} x {size[1]} pixels when read as {self.box_format}; "
                "--box-format sets the format of the boxes"
            )
        return boxes

    def _key(self, path: AnyPath) -> str | None:
        for key in (str(path), path.name, ""):
            if key in self.by_name:
                return key
        return None


def _is_box(box: Any) -> bool:
    if not isinstance(box, list) or len(box) != 4:
        return False
    numbers = (isinstance(edge, int | float) and not isinstance(edge, bool) for edge in box)
    return all(numbers) and all(abs(edge) < _MAX_EDGE for edge in box)  # NaN neither


def read_boxes(path: AnyPath, box_format: str = "rel_yxyx") -> GivenBoxes:
    """Reads a file of boxes.

    Args:
        path: JSON file of one of the four kinds above.
        box_format: One of `BOX_FORMATS`; COCO's files are `xywh` in any case, and files that
            `describe` wrote are `rel_yxyx`.

    Raises:
        UserError: The file cannot be read or has another content.

    Example:
        >>> import pathlib, tempfile
        >>> file = pathlib.Path(tempfile.mkdtemp()) / "boxes.json"
        >>> _ = file.write_text('{"dog.jpg": [[20, 10, 50, 40]]}')
        >>> read_boxes(file, "xyxy").of(pathlib.Path("photos/dog.jpg"), (100, 50)).tolist()
        [[0.20000000298023224, 0.20000000298023224, 0.800000011920929, 0.5]]
    """
    if box_format not in BOX_FORMATS:
        raise UserError(f"--box-format must be one of {', '.join(BOX_FORMATS)}, not {box_format!r}")
    try:
        content = json.loads(read_regular(path))
    except OSError as error:
        raise UserError(f"cannot read the boxes {path}: {reason_of(error)}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not JSON: {error}") from error
    try:
        by_name, box_format = _boxes_by_name(content, box_format)
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is incomplete: {type(error).__name__} {error}") from error
    if not by_name:
        raise UserError(
            f"{path} has no boxes; it must be a list of boxes, an object of lists by file name, "
            "what describe --json writes, or COCO's instances"
        )
    return GivenBoxes(by_name, box_format, str(path))


def _boxes_by_name(content: Any, box_format: str) -> tuple[dict[str, list[Any]], str]:
    """The boxes in a JSON file by file name, and their format; none if it has another content."""
    if isinstance(content, dict) and {"images", "annotations"} <= content.keys():
        names = {image["id"]: image["file_name"] for image in content["images"]}
        found: dict[str, list[Any]] = {name: [] for name in names.values()}
        for annotation in content["annotations"]:
            found[names[annotation["image_id"]]].append(annotation["bbox"])
        return found, "xywh"
    if isinstance(content, dict):
        return content, box_format
    if isinstance(content, list) and content and isinstance(content[0], dict):
        return {
            item["image"]: [region["box"] for region in item["regions"]] for item in content
        }, "rel_yxyx"
    return {"": content} if isinstance(content, list) and content else {}, box_format


class BoxExtractor:
    """Extracts the features of given boxes.

    Args:
        extractor: Extractor of the run; its proposer is not used.
    """

    def __init__(self, extractor: RegionExtractor) -> None:
        self.extractor = extractor

    @functools.cached_property
    def _compiled(self) -> tf.types.experimental.PolymorphicFunction:
        size = self.extractor.settings.picture_size
        signature = [tf.TensorSpec([None, size, size, 3]), tf.TensorSpec([None, None, 4])]
        return tf.function(self.extractor.extract_boxes, input_signature=signature)

    def __call__(self, pixels: tf.Tensor, boxes: Sequence[np.ndarray]) -> Regions:
        """Extracts the features of boxes and of the whole frames, which come first.

        Args:
            pixels: float tensor [B, P, P, 3] in 0..255.
            boxes: B arrays float [N, 4], `rel_yxyx`, with a number N for each image.

        Returns:
            NumPy arrays of R = 1 + the largest N regions, all with score 1; padding is masked.
        """
        count = max(1, *(len(of_image) for of_image in boxes)) + 1
        padded = np.zeros([len(boxes), count, 4], np.float32)
        padded[:] = FRAME
        mask = np.zeros([len(boxes), count], bool)
        mask[:, 0] = True
        for row, of_image in enumerate(boxes):
            padded[row, 1 : len(of_image) + 1] = of_image
            mask[row, 1 : len(of_image) + 1] = True
        features = self._compiled(pixels, tf.constant(padded)).numpy()
        return Regions(features, padded, np.ones_like(mask, np.float32), mask)
