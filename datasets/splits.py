"""Splits: their spellings, lists of the pictures in each, and splits that are made at random."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from visem_tf.config import DataConfig
from visem_tf.datasets import schema
from visem_tf.datasets.formats.text import read_lines
from visem_tf.datasets.problems import Problems, listed
from visem_tf.datasets.records import Record
from visem_tf.errors import UserError
from visem_tf.runtime.storage import AnyPath

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "restval": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
}
"""Every spelling of a split; `restval` is what COCO has more of for training."""


def find_lists(folder: AnyPath) -> dict[str, AnyPath]:
    """Returns the lists of a folder: all three of them, or none.

    Raises:
        UserError: some of the three are there and some are not.
    """
    names = {split: folder / f"{split}.txt" for split in schema.SPLITS}
    found = {split: path for split, path in names.items() if path.is_file()}
    if found and len(found) < len(names):
        absent = next(path for split, path in names.items() if split not in found)
        there = ", ".join(path.name for path in found.values())
        raise UserError(f"{folder} has {there} but no {absent.name}; add it, or remove the others")
    return found


def listed_splits(
    records: list[Record], lists: Mapping[str, AnyPath], problems: Problems
) -> list[Record]:
    """Gives pictures the splits of lists; pictures in no list are left out and listed.

    Args:
        records: pictures without splits.
        lists: the files, a file name in each line, with or without its ending; none leaves the
            pictures as they are.
        problems: receives what does not fit together.
    """
    if not lists:
        return records
    members: dict[str, list[str]] = {}
    for split, path in lists.items():
        for line in read_lines(path, problems.notes):
            if line.strip():
                members.setdefault(line.strip(), []).append(split)
    result, outside, used = [], [], set()
    for record in records:
        stem = str(PurePosixPath(record.file_name).with_suffix(""))
        keys = [key for key in (record.file_name, stem) if key in members]
        splits = list(dict.fromkeys(split for key in keys for split in members[key]))
        used.update(keys)
        if not splits:
            outside.append(record.file_name)
        # A picture in two splits is two records, of which `collect` keeps one and says so.
        result += [dataclasses.replace(record, split=split) for split in splits]
    if outside:
        problems.decisions.append(
            f"pictures that are in no split: {len(outside)} ({listed(outside)})"
        )
    if absent := [name for name in members if name not in used]:
        problems.notes.append(
            f"splits name pictures without captions: {len(absent)} ({listed(absent)})"
        )
    return result


def split_at_random(records: Sequence[Record], options: DataConfig) -> dict[str, list[Record]]:
    """Makes splits by the documented rule; each picture goes with all its sentences.

    Pictures are ordered by the SHA-256 of "SEED:FILE NAME". The first `data.test_share` of them,
    rounded but one at least, are the test split, the next `data.val_share` the val split. So a
    picture's place depends on the seed and the names alone, and a picture more or less moves few of
    the others.

    Args:
        records: all pictures.
        options: shares and seed.

    Raises:
        UserError: there are fewer than three pictures.

    Example:
        >>> from pathlib import Path
        >>> records = [Record(str(n), Path(f"{n}.jpg"), ["a dog"]) for n in range(10)]
        >>> {name: len(part) for name, part in split_at_random(records, DataConfig()).items()}
        {'train': 8, 'val': 1, 'test': 1}
    """
    if len(records) < 3:
        raise UserError(f"three splits need three pictures and there are {len(records)}; add some")

    def place(record: Record) -> bytes:
        text = f"{options.split_seed}:{record.file_name}".encode("utf-8", "replace")
        return hashlib.sha256(text).digest()

    order = sorted(range(len(records)), key=lambda row: place(records[row]))
    num_test = max(1, round(options.test_share * len(records)))
    num_val = max(1, round(options.val_share * len(records)))
    num_test, num_val = min(num_test, len(records) - 2), min(num_val, len(records) - num_test - 1)
    parts = {
        "train": order[num_test + num_val :],
        "val": order[num_test : num_test + num_val],
        "test": order[:num_test],
    }
    return {name: [records[row] for row in sorted(rows)] for name, rows in parts.items()}
