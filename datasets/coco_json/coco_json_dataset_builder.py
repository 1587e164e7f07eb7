"""Everybody's own pictures, with captions in one file of COCO's format."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import tensorflow_datasets as tfds
from etils import epath

from visem_tf.config import DataConfig
from visem_tf.datasets.collecting import collect
from visem_tf.datasets.folder_builder import OwnPicturesBuilder
from visem_tf.datasets.formats.coco import read_captions, with_instances, with_regions
from visem_tf.datasets.formats.text import read_json
from visem_tf.datasets.problems import Problems, listed
from visem_tf.datasets.records import Record
from visem_tf.datasets.splits import SPLIT_NAMES
from visem_tf.errors import UserError
from visem_tf.runtime.storage import AnyPath

PICTURES = "images"
CAPTIONS = "captions.json"
INSTANCES = "instances.json"
REGIONS = "regions.json"
SPLITS = "splits.json"


class Builder(OwnPicturesBuilder):
    """The builder; README.md beside it describes the files."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First version."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f"a folder with {PICTURES}/ and {CAPTIONS}; {INSTANCES}, {REGIONS} and {SPLITS} may be "
        "there"
    )
    PICTURE_FOLDERS = (PICTURES,)
    CAPTION_FILES = (CAPTIONS,)
    pkg_dir_path = epath.Path(__file__).parent

    @classmethod
    def other_files(cls, data_dir: AnyPath) -> list[AnyPath]:
        """Objects, regions and splits, where they are."""
        paths = [data_dir / name for name in (INSTANCES, REGIONS, SPLITS)]
        return [path for path in paths if path.is_file()]

    @classmethod
    def read_records(
        cls, data_dir: AnyPath, options: DataConfig, problems: Problems
    ) -> dict[str, list[Record]]:
        """Returns the usable pictures of each split."""
        pictures, captions = cls.places(data_dir, options)
        records = read_captions(captions, pictures, problems.notes)
        if (data_dir / SPLITS).is_file() and options.splits != "random":
            records = _with_splits(records, data_dir / SPLITS, problems.notes)
        if (data_dir / REGIONS).is_file():
            records = with_regions(records, data_dir / REGIONS, captions, problems.notes)
        if (data_dir / INSTANCES).is_file():
            records = with_instances(records, data_dir / INSTANCES, problems.notes)
        return collect(cls.name, records, options, problems)


def _with_splits(records: list[Record], path: AnyPath, notes: list[str]) -> list[Record]:
    """Gives pictures the splits of `splits.json`: {"train": [ids or file names], ...}."""
    data: Any = read_json(path, notes)
    if not isinstance(data, dict) or not all(isinstance(v, list) for v in data.values()):
        raise UserError(
            f'{path} must be of the form {{"train": [...], "val": [...], "test": [...]}}'
        )
    if any(record.split is not None for record in records):
        raise UserError(
            f"both {path.name} and the images of the captions name splits; remove one of them, or "
            "give --data.splits random"
        )
    unknown = [name for name in data if name.lower() not in SPLIT_NAMES]
    if unknown:
        raise UserError(f"{path} has an unknown split {unknown[0]!r}; use train, val and test")
    members: dict[str, list[str]] = {}
    for split, names in data.items():
        for name in names:
            members.setdefault(str(name), []).append(split)
    result, seen = [], set()
    for record in records:
        keys = {record.image_id, record.image_id.replace("%23", "#"), record.file_name}
        splits = [split for key in sorted(keys) for split in members.get(key, [])]
        seen |= keys
        # A picture in two splits is two records, of which `collect` keeps one and says so.
        result += [dataclasses.replace(record, split=split) for split in dict.fromkeys(splits)] or [
            record
        ]
    if absent := [name for name in members if name not in seen]:
        notes.append(f"{path.name}: names pictures without captions: {listed(absent)}")
    return result
