"""Our own features with sentences, as `python -m visem_tf.convert --format cache` writes them.

train/sentences.jsonl   {"image_id", "file_name", "sentences", "phrases"} a line
train/key.json          {"boxes": whether they are known}
train/regions-00000-of-00024.npy …   records as in `visem_tf.regions.dataset_cache`
val/ test/              the same
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from visem_tf.config import DataConfig
from visem_tf.datasets import schema
from visem_tf.datasets.formats.text import read_json, read_lines
from visem_tf.datasets.problems import Problems
from visem_tf.datasets.records import Phrase, Record, RegionBlock, RegionSource
from visem_tf.errors import UserError
from visem_tf.runtime.storage import AnyPath, readable

SENTENCES = "sentences.jsonl"
KEY = "key.json"
_SHARD = re.compile(r"regions-(\d{5})-of-(\d{5})\.npy")
_FIELDS = ("region_features", "boxes", "scores", "region_mask")


class Shards:
    """The regions of a split, from its files.

    Args:
        shards: arrays of records, that may lie on the disk.
        has_boxes: whether it is known where the regions are.
    """

    def __init__(self, shards: list[np.ndarray], has_boxes: bool) -> None:
        self.shards = shards
        self.has_boxes = has_boxes

    def blocks(self, start: int) -> Iterator[RegionBlock]:
        """Yields the regions of the pictures from a position on."""
        first = 0
        for shard in self.shards:
            if first + len(shard) > start:
                records = shard[max(start - first, 0) :]
                yield RegionBlock(
                    np.asarray(records["region_features"]),
                    np.asarray(records["boxes"]),
                    np.asarray(records["region_mask"]),
                )
            first += len(shard)


def find(root: AnyPath, options: DataConfig) -> list[AnyPath]:
    """Returns the files of this kind in a folder."""
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
    """Reads the sentences of all splits.

    Args:
        root: the user's folder.
        options: splits are always those of the folder.
        problems: receives what is wrong.

    Raises:
        UserError: a file is missing or damaged.
    """
    if options.splits in ("random", "entities") or options.captions:
        raise UserError(
            "our own features have their captions and splits; leave --data.splits and "
            "--data.captions out"
        )
    records: dict[str, list[Record]] = {}
    sources: dict[str, RegionSource] = {}
    for split in schema.SPLITS:
        folder = root / split
        records[split] = [
            _record(folder, number, line)
            for number, line in enumerate(read_lines(folder / SENTENCES, problems.notes), start=1)
        ]
        shards = [_open(path) for path in _shards(folder)]
        count = sum(map(len, shards))
        if count != len(records[split]) or not count:
            raise UserError(
                f"{folder} has features of {count} pictures and sentences of "
                f"{len(records[split])}; copy the folder again"
            )
        key = read_json(folder / KEY, [])
        sources[split] = Shards(shards, bool(key.get("boxes", True)))
    return records, sources


def _shards(folder: AnyPath) -> list[AnyPath]:
    """The files of features, all of them."""
    found: dict[int, AnyPath] = {}
    total = 0
    paths: list[AnyPath] = list(folder.iterdir())
    for path in paths:
        if match := _SHARD.fullmatch(path.name):
            found[int(match[1])] = path
            total = int(match[2])
    for number in range(max(total, 1)):
        if number not in found:
            raise UserError(
                f"{folder} lacks regions-{number:05d}-of-{total:05d}.npy; copy it again"
            )
    return [found[number] for number in sorted(found)]


def _open(path: AnyPath) -> np.ndarray:
    try:
        on_disk = isinstance(path, Path)
        records = np.load(readable(path), mmap_mode="r" if on_disk else None, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path} is damaged ({error}); copy it again") from error
    if records.dtype.names != _FIELDS:
        raise UserError(f"{path} holds no regions of ours; copy it again")
    return records


def _record(folder: AnyPath, number: int, line: str) -> Record:
    try:
        item: dict[str, Any] = json.loads(line)
        phrases = tuple(
            Phrase(
                int(phrase["sentence"]),
                str(phrase["text"]),
                tuple(float(edge) for edge in phrase["box"]),  # type: ignore[arg-type]
                int(phrase["object"]),
                int(phrase["first"]),
                int(phrase["last"]),
                in_pixels=False,
            )
            for phrase in item.get("phrases", [])
        )
        sentences = [str(sentence) for sentence in item["sentences"]]
        return Record(
            str(item["image_id"]), folder / "none", sentences, phrases, str(item["file_name"])
        )
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder / SENTENCES} line {number} is damaged; copy it again") from error
