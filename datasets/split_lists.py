"""Splits as text files of names: `train.txt`, `val.txt`, `test.txt`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import PurePosixPath

from visem_tf.datasets import schema
from visem_tf.datasets.formats.text import read_lines
from visem_tf.datasets.problems import Problems, listed
from visem_tf.datasets.records import Record
from visem_tf.errors import UserError
from visem_tf.runtime.storage import AnyPath


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
