"""Splits: their spellings, files that list the images of each, and splits made at random."""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence, Set
from pathlib import PurePosixPath

from visem_tf.config import DataConfig
from visem_tf.datasets import schema
from visem_tf.datasets.formats.text import read_json, read_lines
from visem_tf.datasets.locations import path_of
from visem_tf.datasets.matching import plain_name, without_ending
from visem_tf.datasets.problems import Problems, add_listed
from visem_tf.datasets.records import Record, safe_image_id
from visem_tf.errors import UserError
from visem_tf.runtime.storage import AnyPath

_SPELLINGS = {
    "train": ("train", "training", "restval"),  # restval: the part of COCO's val for training
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
_SPLIT_OF = {spelling: split for split, all_of in _SPELLINGS.items() for spelling in all_of}


def split_of(spelling: str | None) -> str | None:
    """Returns the split that a usual spelling stands for, or None.

    Example:
        >>> split_of("Dev "), split_of("restval"), split_of("extra"), split_of(None)
        ('val', 'train', None, None)
    """
    return _SPLIT_OF.get((spelling or "").strip().lower())


def without_only_split(records: Sequence[Record], problems: Problems) -> list[Record]:
    """Returns the records without splits if all are in one, so that three are made of it.

    Args:
        records: Images, with splits or without.
        problems: Receives a line if they were in one split.
    """
    splits = {split_of(record.split) for record in records}
    if len(splits) == 1 and splits != {None}:
        problems.decisions.append(f"all images are in one split, {splits.pop()}")
        return [dataclasses.replace(record, split=None) for record in records]
    return list(records)


def find_lists(folder: AnyPath) -> dict[str, AnyPath]:
    """Returns the files `train.txt`, `val.txt` and `test.txt` of a folder: all of them, or none.

    Raises:
        UserError: If some of the three files are missing.
    """
    paths = {split: path_of(folder, f"{split}.txt") for split in schema.SPLITS}
    there = [path.name for path in paths.values() if path.is_file()]
    absent = [path.name for path in paths.values() if path.name not in there]
    if there and absent:
        raise UserError(
            f"{folder} has {', '.join(there)} but no {absent[0]}; add it, or remove the others"
        )
    return paths if there else {}


def read_lists(lists: Mapping[str, AnyPath], notes: list[str]) -> dict[str, list[str]]:
    """Reads files with one image name a line.

    Args:
        lists: Path of the file of each split.
        notes: List that receives what was wrong with the files.

    Returns:
        Names of the images of each split.
    """
    return {
        split: [line.strip() for line in read_lines(path, notes) if line.strip()]
        for split, path in lists.items()
    }


def read_split_json(path: AnyPath, notes: list[str]) -> dict[str, list[str]]:
    """Reads a JSON file `{"train": [ids or file names], "val": [...], "test": [...]}`.

    Args:
        path: Path of the file.
        notes: List that receives what was wrong with the file.

    Raises:
        UserError: If the file cannot be read or has another form.
    """
    data = read_json(path, notes)
    if not isinstance(data, dict) or not all(isinstance(names, list) for names in data.values()):
        raise UserError(
            f'{path} must be of the form {{"train": [...], "val": [...], "test": [...]}}'
        )
    unknown = [name for name in data if split_of(name) is None]
    if unknown:
        raise UserError(f"{path} has an unknown split {unknown[0]!r}; use train, val and test")
    return {split: [str(name) for name in names] for split, names in data.items()}


def _names_by_precedence(records: Sequence[Record], used: Set[str]) -> list[list[str]]:
    """Returns three lists of names of the records, the kind that counts first at the beginning."""
    file_names = [safe_image_id(record.file_name) for record in records]
    ids = [record.image_id for record in records]
    stems = [str(PurePosixPath(name).with_suffix("")) for name in file_names]
    if len(used & set(stems)) > len(used & set(ids)):
        return [file_names, stems, ids]
    return [file_names, ids, stems]


def assign_splits(
    records: Sequence[Record], names: Mapping[str, Sequence[str]], problems: Problems
) -> list[Record]:
    """Sets the splits of records from lists of names; leaves out images that are in no list.

    A name that may stand for several images means the one whose file name it is, or else whose id,
    or else whose file name without suffix. If more of the names are file names without suffix than
    ids, these come before ids.

    Args:
        records: Images without splits.
        names: File names of the images of each split, with or without their suffix, or image ids.
        problems: Receives images in no list, and names without an image.

    Returns:
        Records with splits. An image in two splits is returned twice; `collect` keeps one.
    """
    splits_of: dict[str, list[str]] = {}
    for split, members in names.items():
        for member in dict.fromkeys(members):
            splits_of.setdefault(safe_image_id(member), []).append(split)
    kinds = _names_by_precedence(records, splits_of.keys())
    # The first kind in which a name occurs.
    kind_of: dict[str, int] = {}
    for number, kind in enumerate(kinds):
        for name in kind:
            kind_of.setdefault(name, number)
    similar: dict[str, list[str]] = {}
    for name in splits_of:
        if name not in kind_of:
            similar.setdefault(without_ending(plain_name(name)), []).append(name)
    result, outside, unused = [], [], dict.fromkeys(splits_of)
    for record, *spellings in zip(records, *kinds, strict=True):
        keys = [name for number, name in enumerate(spellings) if kind_of[name] == number]
        if not any(key in splits_of for key in keys):
            keys += similar.get(without_ending(plain_name(spellings[0])), [])
        splits = dict.fromkeys(split for key in keys for split in splits_of.get(key, ()))
        if not splits:
            outside.append(record.file_name)
        result += [dataclasses.replace(record, split=split) for split in splits]
        for key in keys:
            unused.pop(key, None)
    add_listed(
        problems.decisions, f"{len(outside)} images are in no split and are not used", outside
    )
    add_listed(
        problems.notes, f"{len(unused)} names of the splits are not among the captions", [*unused]
    )
    return result


def split_at_random(records: Sequence[Record], options: DataConfig) -> dict[str, list[Record]]:
    """Makes splits by the documented rule; an image keeps all its sentences.

    Images are ordered by the SHA-256 of "SEED:FILE NAME". The first `data.test_share` of them,
    rounded but at least one, are the test split, the next `data.val_share` the val split. The split
    of an image depends on the seed and the names only, and adding or removing an image moves few of
    the others.

    Args:
        records: All images.
        options: Shares and seed.

    Raises:
        UserError: If there are fewer than three images.

    Example:
        >>> from pathlib import Path
        >>> records = [Record(str(n), Path(f"{n}.jpg"), ["a dog"]) for n in range(10)]
        >>> {name: len(part) for name, part in split_at_random(records, DataConfig()).items()}
        {'train': 8, 'val': 1, 'test': 1}
    """
    if len(records) < 3:
        raise UserError(f"three splits need three images, not {len(records)}; add some")

    def digest(row: int) -> bytes:
        text = f"{options.split_seed}:{records[row].file_name}".encode("utf-8", "replace")
        return hashlib.sha256(text).digest()

    order = sorted(range(len(records)), key=digest)
    num_test = min(max(1, round(options.test_share * len(records))), len(records) - 2)
    num_val = min(max(1, round(options.val_share * len(records))), len(records) - num_test - 1)
    rows = {
        "train": order[num_test + num_val :],
        "val": order[num_test : num_test + num_val],
        "test": order[:num_test],
    }
    return {split: [records[row] for row in sorted(part)] for split, part in rows.items()}
