"""Bottom-up features: TSV with `image_id, image_w, image_h, num_boxes, boxes, features`.

The last two are base64 of float32; boxes are x1, y1, x2, y2 in pixels. The files are large, so they
are read twice: for where each picture's line begins, and then line by line in the order of a split.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np

from visem_tf.config import DataConfig
from visem_tf.datasets.collecting import collect
from visem_tf.datasets.locations import below
from visem_tf.datasets.precomputed.captions import captions_file, read_sentences
from visem_tf.datasets.problems import Problems, listed
from visem_tf.datasets.records import Record, RegionBlock, RegionSource, with_frame
from visem_tf.errors import UserError
from visem_tf.runtime.storage import AnyPath

_FIELDS = 6
_PICTURES_AT_A_TIME = 32


class Line(NamedTuple):
    """Where the features of a picture are.

    Attributes:
        path: the file.
        offset: of the line, in bytes.
        num_boxes: its regions.
    """

    path: AnyPath
    offset: int
    num_boxes: int


class Lines:
    """The regions of a split, each picture from its line.

    Args:
        lines: one for each picture.
        num_regions: R, the most that a picture has.
        feature_dim: F.
    """

    has_boxes = True

    def __init__(self, lines: list[Line], num_regions: int, feature_dim: int) -> None:
        self.lines = lines
        self.num_regions = num_regions
        self.feature_dim = feature_dim

    def blocks(self, start: int) -> Iterator[RegionBlock]:
        """Yields the regions of the pictures from a position on."""
        files = {path: path.open("rb") for path in {line.path for line in self.lines}}
        try:
            for first in range(start, len(self.lines), _PICTURES_AT_A_TIME):
                block = self.lines[first : first + _PICTURES_AT_A_TIME]
                features = np.zeros((len(block), self.num_regions, self.feature_dim), np.float32)
                boxes = np.zeros((len(block), self.num_regions, 4), np.float32)
                mask = np.zeros((len(block), self.num_regions), bool)
                for row, line in enumerate(block):
                    files[line.path].seek(line.offset)
                    _, own_boxes, own = parse(files[line.path].readline())
                    features[row, : len(own)] = own
                    boxes[row, : len(own)] = own_boxes
                    mask[row, : len(own)] = True
                yield with_frame(features, boxes, mask)
        finally:
            for file in files.values():
                file.close()


def find(root: AnyPath, options: DataConfig) -> list[AnyPath]:
    """Returns the files of this kind in a folder."""
    if options.features.lower().endswith(".tsv"):
        paths = [below(root, options.features)]
        paths = [path for path in paths if path.is_file()]
    else:
        # Large ones come in pieces: name.tsv.0, name.tsv.1.
        paths = [path for path in root.iterdir() if ".tsv" in path.name.lower()]
    return (
        [*sorted(paths, key=lambda path: path.name), captions_file(root, options)] if paths else []
    )


def parse(line: bytes) -> tuple[str, np.ndarray, np.ndarray]:
    """Returns the id of a picture, its boxes [N, 4] as shares of it, and its features [N, F].

    Raises:
        ValueError: the line is not of the documented form.
    """
    fields = line.rstrip(b"\r\n").split(b"\t")
    if len(fields) != _FIELDS:
        raise ValueError(f"{len(fields)} fields instead of {_FIELDS}")
    width, height, count = (int(float(field)) for field in fields[1:4])
    try:
        boxes = np.frombuffer(base64.b64decode(fields[4], validate=True), "<f4")
        features = np.frombuffer(base64.b64decode(fields[5], validate=True), "<f4")
    except binascii.Error as error:
        raise ValueError(f"broken base64 ({error})") from error
    if width <= 0 or height <= 0 or count <= 0:
        raise ValueError(f"{count} boxes in a picture of {width} x {height}")
    if boxes.size != 4 * count or features.size % count or not features.size:
        raise ValueError(
            f"{count} boxes with {boxes.size} coordinates and {features.size} features"
        )
    x1, y1, x2, y2 = boxes.reshape(count, 4).T
    relative = np.stack([y1 / height, x1 / width, y2 / height, x2 / width], axis=1)
    return (
        fields[0].decode("utf-8", "replace"),
        np.clip(relative, 0, 1),
        features.reshape(count, -1),
    )


def index(paths: list[AnyPath], notes: list[str]) -> tuple[dict[str, Line], int]:
    """Reads all files once, and says where each picture is and what F is.

    Args:
        paths: the files.
        notes: receives bad lines and repeated pictures.

    Raises:
        UserError: no line can be used, or pictures have features of different sizes.
    """
    found: dict[str, Line] = {}
    bad, again, dims = [], [], set()
    for path in paths:
        with path.open("rb") as file:
            offset, number = 0, 0
            while line := file.readline():
                number += 1
                start, offset = offset, offset + len(line)
                if not line.strip() or (number == 1 and line.startswith(b"image_id\t")):
                    continue
                try:
                    image_id, boxes, features = parse(line)
                except ValueError as error:
                    bad.append(f"{path.name} line {number}: {error}")
                    continue
                if image_id in found:
                    again.append(image_id)
                    continue
                found[image_id] = Line(path, start, len(boxes))
                dims.add(features.shape[1])
    if bad:
        notes.append(f"skipped {len(bad)} lines of features: {listed(bad)}")
    if again:
        notes.append(f"pictures whose features stand twice, the first are kept: {listed(again)}")
    if not found:
        raise UserError(
            f"{paths[0]} has no line that can be used"
            + (f" ({bad[0]})" if bad else "")
            + "; it must have image_id, image_w, image_h, num_boxes, boxes and features"
        )
    if len(dims) > 1:
        raise UserError(f"the features of {paths[0].name} have different sizes: {sorted(dims)}")
    return found, dims.pop()


def read(
    root: AnyPath, options: DataConfig, problems: Problems
) -> tuple[dict[str, list[Record]], dict[str, RegionSource]]:
    """Reads the sentences, and where the features are.

    A picture's line is that of its id, its file name, or the number that its file name ends in.

    Args:
        root: the user's folder.
        options: names of files, and where splits come from.
        problems: receives what is wrong.

    Raises:
        UserError: a file cannot be read, or nothing fits together.
    """
    *paths, _ = find(root, options)
    lines, feature_dim = index(paths, problems.notes)
    records = read_sentences(root, options, problems.notes)
    keys = {}
    for record in records:
        key = next((key for key in _keys(record) if key in lines), None)
        if key is not None:
            keys[record.file_name] = key
    if not keys:
        raise UserError(
            f"no picture of the captions has features: they have ids like {next(iter(lines))}, and "
            f"the captions pictures like {records[0].file_name}"
        )
    splits = collect("precomputed", records, options, problems, described=keys.keys())
    used = [lines[keys[record.file_name]] for part in splits.values() for record in part]
    num_regions = max(line.num_boxes for line in used)
    sources: dict[str, RegionSource] = {
        split: Lines([lines[keys[r.file_name]] for r in part], num_regions, feature_dim)
        for split, part in splits.items()
    }
    return splits, sources


def _keys(record: Record) -> list[str]:
    """Under which ids the features of a picture may stand."""
    stem = PurePosixPath(record.file_name).stem
    last = stem.rpartition("_")[2]
    keys = [record.image_id, record.file_name, stem]
    return [*keys, str(int(last))] if last.isdecimal() else keys
