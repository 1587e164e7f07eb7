"""Boxes that a user gives instead of proposed ones: read from a file, and described.

Four kinds of JSON are read: a list of boxes, for every picture; an object of lists by file name;
what `python -m visem_tf.describe --json` writes; and COCO's `{"images", "annotations"}`.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from visem_tf.errors import UserError
from visem_tf.regions.extractor import FRAME, RegionExtractor, Regions
from visem_tf.runtime.storage import AnyPath, reason_of

BOX_FORMATS = ("rel_yxyx", "rel_xyxy", "yxyx", "xyxy", "xywh", "center_xywh")
"""How the numbers of a box are meant, in KerasCV's names; without `rel_` in pixels."""

MAX_BOXES = 1000
"""Boxes of one picture, at most."""


class GivenBoxes:
    """The boxes of some pictures.

    Args:
      by_name: Lists of boxes by file name or path; the key "" stands for all other pictures.
      box_format: One of `BOX_FORMATS`.
      source: What to call them in errors.
    """

    def __init__(
        self, by_name: Mapping[str, Sequence[Any]], box_format: str, source: str = "the boxes"
    ) -> None:
        self.by_name = dict(by_name)
        self.box_format = box_format
        self.source = source

    def has(self, path: AnyPath) -> bool:
        """Whether there are boxes for a picture."""
        return self._key(path) is not None

    def of(self, path: AnyPath, size: tuple[int, int]) -> np.ndarray:
        """The boxes of a picture, cut off at its border.

        Args:
          path: Its file; found by the whole path, or else by the name.
          size: Its width and height in pixels, upright.

        Returns:
          float32 [N, 4], `rel_yxyx`; N is 0 where there are none.

        Raises:
          UserError: A box is not four numbers, or has no area inside the picture.
        """
        key = self._key(path)
        given = self.by_name[key] if key is not None else []
        if not isinstance(given, list) or len(given) > MAX_BOXES:
            raise UserError(
                f"{self.source}: the boxes of {path} must be a list of at most {MAX_BOXES}"
            )
        for number, box in enumerate(given, start=1):
            numbers = isinstance(box, list) and all(
                isinstance(edge, (int, float)) and not isinstance(edge, bool) for edge in box
            )
            if not numbers or len(box) != 4 or not np.all(np.isfinite(box)):
                raise UserError(
                    f"{self.source}: box {number} of {path} must be four numbers, not {box!r}"
                )
        boxes = self._relative(np.array(given, np.float32).reshape(-1, 4), size)
        empty = (boxes[:, 2] <= boxes[:, 0]) | (boxes[:, 3] <= boxes[:, 1])
        if empty.any():
            number = int(np.argmax(empty))
            raise UserError(
                f"{self.source}: box {number + 1} of {path}, {given[number]}, has no area inside "
                f"the picture of {size[0]} x {size[1]} pixels when read as {self.box_format}; "
                "--box-format tells how boxes are meant"
            )
        return boxes

    def _relative(self, boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        if not len(boxes):
            return boxes
        import keras_cv

        converted = keras_cv.bounding_box.convert_format(
            boxes,
            source=self.box_format,
            target="rel_yxyx",
            image_shape=(size[1], size[0], 3),
        )
        return np.clip(np.asarray(converted, np.float32), 0, 1)

    def _key(self, path: AnyPath) -> str | None:
        for key in (str(path), path.name, ""):
            if key in self.by_name:
                return key
        return None


def read_boxes(path: AnyPath, box_format: str = "rel_yxyx") -> GivenBoxes:
    """Reads a file of boxes.

    Args:
      path: JSON, of one of the four kinds above.
      box_format: One of `BOX_FORMATS`; COCO's files are `xywh` in any case, and what `describe`
        wrote is `rel_yxyx`.

    Raises:
      UserError: The file cannot be read or holds something else.

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
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read the boxes {path}: {reason_of(error)}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is no JSON: {error}") from error
    source = str(path)
    try:
        if isinstance(content, dict) and {"images", "annotations"} <= content.keys():
            return GivenBoxes(_of_coco(content), "xywh", source)
        if isinstance(content, dict):
            return GivenBoxes(content, box_format, source)
        if isinstance(content, list) and content and isinstance(content[0], dict):
            described = {
                item["image"]: [region["box"] for region in item["regions"]] for item in content
            }
            return GivenBoxes(described, "rel_yxyx", source)
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is incomplete: {type(error).__name__} {error}") from error
    if isinstance(content, list) and content:
        return GivenBoxes({"": content}, box_format, source)
    raise UserError(
        f"{path} holds no boxes; it must be a list of boxes, an object of lists by file name, "
        "what describe --json writes, or COCO's instances"
    )


class BoxDescriber:
    """Describes given boxes by the CNN.

    Args:
      extractor: Describes; its proposer is not used.
    """

    def __init__(self, extractor: RegionExtractor) -> None:
        self.extractor = extractor

    @functools.cached_property
    def _compiled(self) -> tf.types.experimental.PolymorphicFunction:
        size = self.extractor.settings.picture_size
        return tf.function(
            self.extractor.describe_boxes,
            input_signature=[
                tf.TensorSpec([None, size, size, 3]),
                tf.TensorSpec([None, None, 4]),
            ],
        )

    def __call__(self, pixels: tf.Tensor, boxes: Sequence[np.ndarray]) -> Regions:
        """Describes boxes, and the whole frames before them.

        Args:
          pixels: float [B, P, P, 3] in 0..255.
          boxes: B arrays float [N, 4], `rel_yxyx`, N of each picture's own.

        Returns:
          NumPy arrays of R = 1 + the largest N regions, all of score 1; padded ones are masked.
        """
        count = max(1, *(len(of_picture) for of_picture in boxes)) + 1
        padded = np.zeros([len(boxes), count, 4], np.float32)
        padded[:] = FRAME
        mask = np.zeros([len(boxes), count], bool)
        mask[:, 0] = True
        for row, of_picture in enumerate(boxes):
            padded[row, 1 : len(of_picture) + 1] = of_picture
            mask[row, 1 : len(of_picture) + 1] = True
        features = self._compiled(pixels, tf.constant(padded)).numpy()
        return Regions(features, padded, np.ones_like(mask, np.float32), mask)


def _of_coco(content: Mapping[str, Any]) -> dict[str, list[Any]]:
    names = {image["id"]: image["file_name"] for image in content["images"]}
    found: dict[str, list[Any]] = {name: [] for name in names.values()}
    for annotation in content["annotations"]:
        found[names[annotation["image_id"]]].append(annotation["bbox"])
    return found
