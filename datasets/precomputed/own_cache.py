"""Features with sentences as `python -m visem_tf.convert --format cache` writes them.

train/sentences.jsonl   {"image_id", "file_name", "sentences", "phrases"} in each line
train/key.json          {"boxes": whether boxes are known}
train/regions-00000-of-00024.npy …   records as in `visem_tf.regions.dataset_cache`
val/ test/              the same
"""

import re
from collections.abc import Iterator

import msgspec
import numpy as np

from visem_tf.config import DataConfig
from visem_tf.datasets import schema
from visem_tf.datasets.formats.text import read_json, read_lines
from visem_tf.datasets.precomputed.arrays import open_array
from visem_tf.datasets.problems import Problems
from visem_tf.datasets.records import Box, Phrase, Record, RegionBlock, RegionSource
from visem_tf.errors import UserError
from visem_tf.runtime.json_files import parse_json
from visem_tf.runtime.storage import AnyPath

SENTENCES = "sentences.jsonl"
KEY = "key.json"
_SHARD = re.compile(r"regions-\d{5}-of-\d{5}\.npy")
_FIELDS = ("region_features", "boxes", "scores", "region_mask")


class _Phrase(msgspec.Struct):
    """A phrase of an image, with its box relative to the image."""

    sentence: int
    text: str
    box: Box
    object: int
    first: int
    last: int
    type: str = ""


class _Image(msgspec.Struct):
    """A line of `sentences.jsonl`."""

    image_id: str
    file_name: str
    sentences: list[str]
    phrases: list[_Phrase] = []


class ShardRegions:
    """The regions of a split, from the shards of a cache.

    Args:
        shards: Arrays of records, which may stay on disk.
        has_boxes: Whether the boxes of the regions are known.
    """

    def __init__(self, shards: list[np.ndarray], has_boxes: bool) -> None:
        self.shards = shards
        self.has_boxes = has_boxes

    def blocks(self, start: int) -> Iterator[RegionBlock]:
        """Yields the regions of the images from a position on."""
        first = 0
        for shard in self.shards:
            if first + len(shard) > start:
                records = shard[max(start - first, 0) :]
                names = ("region_features", "boxes", "region_mask")
                yield RegionBlock(*(np.asarray(records[name]) for name in names))
            first += len(shard)


def find(root: AnyPath, options: DataConfig) -> list[AnyPath]:
    """Returns the files of this format in a folder."""
    if not (root / "train" / SENTENCES).is_file():
        return []
    files = []
    for split in schema.SPLITS:
        for name in (SENTENCES, KEY):
            if not (root / split / name).is_file():
                raise UserError(f"{root / split / name} is missing; copy the folder again")
            files.append(root / split / name)
        files += _shards(root / split)
    return files


def read(
    root: AnyPath, options: DataConfig, problems: Problems
) -> tuple[dict[str, list[Record]], dict[str, RegionSource]]:
    """Reads the images of each split with their captions, and opens their features.

    Args:
        root: Folder of the features.
        options: Options of the dataset.
        problems: Receives the problems of the files.

    Raises:
        UserError: A file is missing or damaged.
    """
    records: dict[str, list[Record]] = {}
    sources: dict[str, RegionSource] = {}
    for split in schema.SPLITS:
        folder = root / split
        lines = read_lines(folder / SENTENCES, problems.notes)
        records[split] = [_record(folder, number, line) for number, line in enumerate(lines, 1)]
        shards = [_open(path) for path in _shards(folder)]
        count = sum(map(len, shards))
        if count != len(records[split]) or not count:
            raise UserError(
                f"{folder} has features of {count} images and sentences of {len(records[split])}; "
                "copy the folder again"
            )
        sources[split] = ShardRegions(shards, bool(read_json(folder / KEY, []).get("boxes", True)))
    return records, sources


def _shards(folder: AnyPath) -> list[AnyPath]:
    """Returns the files of features in order."""
    paths = [path for path in folder.iterdir() if _SHARD.fullmatch(path.name)]
    names = sorted(path.name for path in paths if path.is_file())
    total = int(names[-1][-9:-4]) if names else 1
    shards = [f"regions-{number:05d}-of-{total:05d}.npy" for number in range(total)]
    for name in shards:
        if name not in names:
            raise UserError(f"{folder / name} is missing; copy the folder again")
    return [folder / name for name in shards]


def _open(path: AnyPath) -> np.ndarray:
    records = open_array(path)
    if records.dtype.names != _FIELDS:
        raise UserError(f"{path} has no regions of this program; copy it again")
    return records


def _record(folder: AnyPath, number: int, line: str) -> Record:
    try:
        item = msgspec.convert(parse_json(line, _Image), _Image)
    except ValueError as error:
        raise UserError(
            f"{folder / SENTENCES} line {number} is damaged ({error}); copy it again"
        ) from error
    phrases = [Phrase(**msgspec.structs.asdict(phrase), in_pixels=False) for phrase in item.phrases]
    return Record(item.image_id, folder / "none", item.sentences, phrases, item.file_name)
