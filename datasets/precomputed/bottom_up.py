"""Bottom-up features: TSV with `image_id, image_w, image_h, num_boxes, boxes, features`.

The last two fields are base64 of float32; boxes are x1, y1, x2, y2 in pixels. The files are large,
so a first pass finds the line of each image, and features are then read line by line in the order
of a split.
"""

import base64
import binascii
import contextlib
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np

from visem_tf.config import DataConfig
from visem_tf.datasets.collecting import collect
from visem_tf.datasets.locations import below, visible
from visem_tf.datasets.precomputed.captions import captions_file, read_sentences
from visem_tf.datasets.problems import Problems, listed
from visem_tf.datasets.records import Record, RegionBlock, RegionSource, with_frame
from visem_tf.errors import UserError
from visem_tf.runtime.storage import AnyPath

_NUM_FIELDS = 6
_IMAGES_AT_A_TIME = 32
_HEADER = b"image_id\t"
_MAX_LINE = 1 << 26
_MAX_NUMBER = 1 << 31


class Line(NamedTuple):
    """Position of the features of an image.

    Attributes:
        path: File of the features.
        offset: Offset of the line in bytes.
        num_boxes: Number of regions of the image.
    """

    path: AnyPath
    offset: int
    num_boxes: int


class LineRegions:
    """The regions of a split, from the line of each image.

    Args:
        lines: A line for each image of the split.
        num_regions: Largest number of regions of an image, R.
        feature_dim: Size of the features, F.
    """

    has_boxes = True

    def __init__(self, lines: list[Line], num_regions: int, feature_dim: int) -> None:
        self.lines = lines
        self.num_regions = num_regions
        self.feature_dim = feature_dim

    def blocks(self, start: int) -> Iterator[RegionBlock]:
        """Yields the regions of the images from a position on."""
        with contextlib.ExitStack() as stack:
            paths = {line.path for line in self.lines}
            files = {path: stack.enter_context(path.open("rb")) for path in paths}
            for first in range(start, len(self.lines), _IMAGES_AT_A_TIME):
                lines = self.lines[first : first + _IMAGES_AT_A_TIME]
                features = np.zeros((len(lines), self.num_regions, self.feature_dim), np.float32)
                boxes = np.zeros((len(lines), self.num_regions, 4), np.float32)
                mask = np.zeros((len(lines), self.num_regions), bool)
                for row, line in enumerate(lines):
                    files[line.path].seek(line.offset)
                    _, own_boxes, own_features = parse_line(files[line.path].readline())
                    features[row, : line.num_boxes] = own_features
                    boxes[row, : line.num_boxes] = own_boxes
                    mask[row, : line.num_boxes] = True
                yield with_frame(features, boxes, mask)


def find(root: AnyPath, options: DataConfig) -> list[AnyPath]:
    """Returns the files of this format in a folder."""
    if options.features.lower().endswith(".tsv"):
        paths = [path for path in [below(root, options.features)] if path.is_file()]
    else:
        # Large files come in parts: name.tsv.0, name.tsv.1.
        named = [path for path in visible(root) if ".tsv" in path.name.lower()]
        paths = [path for path in named if path.is_file()]
    paths = sorted(paths, key=lambda path: path.name)
    return [*paths, captions_file(root, options)] if paths else []


def is_features(path: AnyPath) -> bool:
    """Returns whether a file starts with the features of an image, perhaps after a header."""
    if ".tsv" not in path.name.lower() or not path.is_file():
        return False
    with path.open("rb") as file:
        first, second = file.readline(_MAX_LINE), file.readline(_MAX_LINE)
    try:
        parse_line(second if first.startswith(_HEADER) else first)
    except ValueError:
        return False
    return True


def read(
    root: AnyPath, options: DataConfig, problems: Problems
) -> tuple[dict[str, list[Record]], dict[str, RegionSource]]:
    """Reads the images of each split with their captions, and finds their features.

    The line of an image has its id, its file name, or the number at the end of its file name.

    Args:
        root: Folder of the features.
        options: Options of the dataset.
        problems: Receives the problems of the files.

    Raises:
        UserError: A file cannot be read, or no image of the captions has features.
    """
    *paths, _ = find(root, options)
    lines, feature_dim = find_lines(paths, problems.notes)
    records = read_sentences(root, options, problems.notes)
    if not records:
        raise UserError(f"{root} has features, but no captions of images; add them")
    line_of: dict[str, Line] = {}
    for record in records:
        image_id = next((key for key in _possible_ids(record) if key in lines), None)
        if image_id is not None:
            line_of[record.file_name] = lines[image_id]
    if not line_of:
        raise UserError(
            f"no image of the captions has features: the features have ids like "
            f"{next(iter(lines))}, and the captions images like {records[0].file_name}"
        )
    splits = collect("precomputed", records, options, problems, described=line_of.keys())
    chosen = {split: [line_of[each.file_name] for each in part] for split, part in splits.items()}
    num_regions = max(line.num_boxes for part in chosen.values() for line in part)
    sources: dict[str, RegionSource] = {
        split: LineRegions(part, num_regions, feature_dim) for split, part in chosen.items()
    }
    return splits, sources


def parse_line(line: bytes) -> tuple[str, np.ndarray, np.ndarray]:
    """Returns the id of an image, its boxes [N, 4] as `rel_yxyx`, and its features [N, F].

    Raises:
        ValueError: The line does not have the documented format.
    """
    fields = line.rstrip(b"\r\n").split(b"\t")
    if len(fields) != _NUM_FIELDS:
        raise ValueError(f"{len(fields)} fields instead of {_NUM_FIELDS}")
    numbers = [float(field) for field in fields[1:4]]
    if not all(1 <= number < _MAX_NUMBER for number in numbers):  # NaN and infinity neither
        raise ValueError("{2:g} boxes in an image of {0:g} x {1:g}".format(*numbers))
    width, height, count = map(int, numbers)
    try:
        boxes = np.frombuffer(base64.b64decode(fields[4], validate=True), "<f4")
        features = np.frombuffer(base64.b64decode(fields[5], validate=True), "<f4")
    except binascii.Error as error:
        raise ValueError(f"broken base64 ({error})") from error
    if boxes.size != 4 * count or features.size % count or not features.size:
        raise ValueError(
            f"{count} boxes with {boxes.size} coordinates and {features.size} features"
        )
    x1, y1, x2, y2 = boxes.reshape(count, 4).T
    relative = np.stack([y1 / height, x1 / width, y2 / height, x2 / width], axis=1)
    image_id = fields[0].decode("utf-8", "replace")
    return image_id, np.clip(relative, 0, 1), features.reshape(count, -1)


def find_lines(paths: list[AnyPath], notes: list[str]) -> tuple[dict[str, Line], int]:
    """Reads all files once, and returns the line of each image id and F.

    Args:
        paths: Files of features.
        notes: List that receives invalid lines and repeated images.

    Raises:
        UserError: No line is valid, or images have features of different sizes.
    """
    found: dict[str, Line] = {}
    invalid, repeated, dims = [], [], set()
    for path in paths:
        with path.open("rb") as file:
            offset = 0
            for number, line in enumerate(iter(file.readline, b""), start=1):
                start, offset = offset, offset + len(line)
                if not line.strip() or (number == 1 and line.startswith(_HEADER)):
                    continue
                try:
                    image_id, boxes, features = parse_line(line)
                except ValueError as error:
                    invalid.append(f"{path.name} line {number}: {error}")
                    continue
                if image_id in found:
                    repeated.append(image_id)
                    continue
                found[image_id] = Line(path, start, len(boxes))
                dims.add(features.shape[1])
    if invalid:
        notes.append(f"skipped {len(invalid)} lines of features: {listed(invalid)}")
    if repeated:
        notes.append(f"used only the first features of images with several: {listed(repeated)}")
    if not found:
        first = f" ({invalid[0]})" if invalid else ""
        raise UserError(
            f"{paths[0]} has no valid line{first}; a line must have image_id, image_w, image_h, "
            "num_boxes, boxes and features"
        )
    if len(dims) > 1:
        raise UserError(f"the features of {paths[0].name} have different sizes: {sorted(dims)}")
    return found, dims.pop()


def _possible_ids(record: Record) -> list[str]:
    stem = PurePosixPath(record.file_name).stem
    ids = [record.image_id, record.file_name, stem]
    last = stem.rpartition("_")[2]
    return [*ids, str(int(last))] if last.isdecimal() else ids
