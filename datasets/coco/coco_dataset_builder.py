"""COCO captions from local folders, or from TensorFlow Datasets' own `coco_captions`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, ClassVar

import tensorflow_datasets as tfds
from etils import epath

from visem_tf.config import DataConfig
from visem_tf.datasets import schema
from visem_tf.datasets.coco.from_tfds import generate_examples
from visem_tf.datasets.collecting import collect
from visem_tf.datasets.folder_builder import FolderBuilder
from visem_tf.datasets.formats.coco import read_captions, with_instances
from visem_tf.datasets.formats.karpathy import read_karpathy
from visem_tf.datasets.locations import pictures_in
from visem_tf.datasets.problems import Problems
from visem_tf.datasets.records import Record
from visem_tf.errors import UserError
from visem_tf.runtime.storage import AnyPath

KARPATHY_FILE = "dataset_coco.json"
YEARS = ("2014", "2017")
PARTS = ("train", "val")


# Not registered: TensorFlow Datasets has a data set of that name, which coco_captions is based on.
class Builder(FolderBuilder, skip_registration=True):  # type: ignore[call-arg]
    """The builder; README.md beside it describes the files and the variants."""

    name = "coco"
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First version."}
    BUILDER_CONFIGS: ClassVar[list[tfds.core.BuilderConfig]] = [
        tfds.core.BuilderConfig(name="local", description="From a folder, of 2014 or of 2017."),
        tfds.core.BuilderConfig(name="tfds", description="From TFDS' coco_captions."),
    ]
    WITHOUT_FOLDER = ("tfds",)
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "a folder with train2014/, val2014/ and annotations/ (captions_train2014.json, "
        "captions_val2014.json) from train2014.zip, val2014.zip and annotations_trainval2014.zip "
        "(https://cocodataset.org/#download), or the same of 2017, and dataset_coco.json from "
        "https://cs.stanford.edu/people/karpathy/deepimagesent/caption_datasets.zip; or leave "
        "--data-dir out and give --dataset coco/tfds, which fetches 37 GB by itself"
    )
    OPTIONS = ("splits", "val_share", "test_share", "split_seed")
    HOMEPAGE = "https://cocodataset.org"
    pkg_dir_path = epath.Path(__file__).parent

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, Any]:
        if self.builder_config.name != "tfds":
            return super()._split_generators(dl_manager)
        if self.options != DataConfig():
            raise UserError("coco/tfds has Karpathy's splits; leave --data.* out")
        return {split: self._from_tfds(split, dl_manager.download_dir) for split in schema.SPLITS}

    def _from_tfds(self, split: str, download_dir: Any) -> Iterator[tuple[str, dict[str, Any]]]:
        root = None if self.root is None else str(self.root)
        return generate_examples(split, root, download_dir, self.problems)

    @classmethod
    def source_files(cls, data_dir: AnyPath, options: DataConfig | None = None) -> list[AnyPath]:
        """Returns annotation files and pictures."""
        year = find_year(data_dir)
        files = [data_dir / KARPATHY_FILE]
        for part in PARTS:
            for kind in ("captions", "instances"):
                files.append(data_dir / "annotations" / f"{kind}_{part}{year}.json")
        found = [path for path in files if path.is_file()]
        for part in PARTS:
            found += pictures_in(data_dir / f"{part}{year}")
        return found

    @classmethod
    def read_records(
        cls, data_dir: AnyPath, options: DataConfig, problems: Problems
    ) -> dict[str, list[Record]]:
        """Returns the usable pictures of each split."""
        year = find_year(data_dir)
        karpathy = data_dir / KARPATHY_FILE
        if options.splits == "random" or not karpathy.is_file():
            records = _official(data_dir, year, options, problems.notes)
        else:
            records = _karpathy(data_dir, year, karpathy, problems.notes)
        for part in PARTS:
            path = data_dir / "annotations" / f"instances_{part}{year}.json"
            if path.is_file():
                records = with_instances(records, path, problems.notes)
        return collect(cls.name, records, options, problems)


def find_year(data_dir: AnyPath) -> str:
    """Returns the year whose folders of pictures are there.

    Raises:
        UserError: there is none, or one is incomplete, or there are both.
    """
    there = {
        year: [part for part in PARTS if (data_dir / f"{part}{year}").is_dir()] for year in YEARS
    }
    found = [year for year, parts in there.items() if parts]
    if not found:
        raise UserError(
            f"{data_dir} has no train2014/ and val2014/, and none of 2017; coco needs "
            f"{Builder.MANUAL_DOWNLOAD_INSTRUCTIONS}"
        )
    if len(found) > 1:
        raise UserError(
            f"{data_dir} has pictures of 2014 and of 2017, which are the same in other splits; "
            "make a folder for each, with links, and give one with --data-dir"
        )
    year = found[0]
    if len(there[year]) < len(PARTS):
        absent = next(part for part in PARTS if part not in there[year])
        raise UserError(f"{data_dir} has no {absent}{year}/; unpack {absent}{year}.zip there")
    return year


def _official(data_dir: AnyPath, year: str, options: DataConfig, notes: list[str]) -> list[Record]:
    """All pictures with captions, without splits: the official ones have no test split."""
    if options.splits != "random":
        raise UserError(
            f"{data_dir} has no {KARPATHY_FILE}, and COCO's own test pictures have no captions; "
            "add it (from https://cs.stanford.edu/people/karpathy/deepimagesent/"
            "caption_datasets.zip), or let splits be made with --data.splits random (figures then "
            "do not compare with anybody's)"
        )
    records = []
    for part in PARTS:
        path = data_dir / "annotations" / f"captions_{part}{year}.json"
        if not path.is_file():
            raise UserError(f"{path} is missing; unpack annotations_trainval{year}.zip there")
        folder = data_dir / f"{part}{year}"
        for record in read_captions(path, folder, notes):
            records.append(_below(record, f"{part}{year}"))
    return records


def _karpathy(data_dir: AnyPath, year: str, path: AnyPath, notes: list[str]) -> list[Record]:
    """Karpathy's pictures and splits; those of 2017 are found by their ids."""
    records = read_karpathy(path, data_dir, notes)
    if year == "2014":
        return records
    moved = []
    for record in records:
        name = f"{record.image_id:0>12}.jpg"
        part = "val" if (data_dir / "val2017" / name).is_file() else "train"
        moved.append(
            dataclasses.replace(
                record,
                path=data_dir / f"{part}2017" / name,
                file_name=f"{part}2017/{name}",
            )
        )
    return moved


def _below(record: Record, folder: str) -> Record:
    return dataclasses.replace(record, file_name=f"{folder}/{record.file_name}")
