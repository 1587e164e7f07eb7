"""COCO captions from local folders, or from TensorFlow Datasets' own `coco_captions`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from visem_tf.config import DataConfig
from visem_tf.datasets import schema
from visem_tf.datasets.coco.from_tfds import generate_examples
from visem_tf.datasets.folder_builder import SPLIT_OPTIONS, FolderBuilder
from visem_tf.datasets.formats.coco import read_captions, with_instances
from visem_tf.datasets.formats.karpathy import read_karpathy
from visem_tf.datasets.locations import images_in
from visem_tf.datasets.problems import Problems
from visem_tf.datasets.records import Record
from visem_tf.errors import UserError
from visem_tf.runtime.storage import AnyPath

KARPATHY_FILE = "dataset_coco.json"
YEARS = ("2014", "2017")
PARTS = ("train", "val")


# Not registered: TensorFlow Datasets has a dataset of that name, which coco_captions is based on.
class Builder(FolderBuilder, skip_registration=True):
    """The builder; README.md describes the files and the variants."""

    name = "coco"
    BUILDER_CONFIGS: ClassVar[list[tfds.core.BuilderConfig]] = [
        tfds.core.BuilderConfig(name="local", description="From a folder, of 2014 or of 2017."),
        tfds.core.BuilderConfig(name="tfds", description="From TFDS' coco_captions."),
    ]
    WITHOUT_FOLDER = ("tfds",)
    OPTIONS = SPLIT_OPTIONS
    HOMEPAGE = "https://cocodataset.org"
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "a folder with train2014/, val2014/ and annotations/ (captions_train2014.json, "
        "captions_val2014.json) from train2014.zip, val2014.zip and annotations_trainval2014.zip "
        f"({HOMEPAGE}/#download), or the same of 2017, and {KARPATHY_FILE} from "
        "https://cs.stanford.edu/people/karpathy/deepimagesent/caption_datasets.zip; or leave "
        "--data-dir out and give --dataset coco/tfds, which downloads 37 GB by itself"
    )

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
    def source_files(cls, data_dir: AnyPath, options: DataConfig) -> list[AnyPath]:
        """Returns annotation files and images."""
        year = find_year(data_dir)
        files = [data_dir / KARPATHY_FILE]
        for part in PARTS:
            for kind in ("captions", "instances"):
                files.append(data_dir / "annotations" / f"{kind}_{part}{year}.json")
        images = [image for part in PARTS for image in images_in(data_dir / f"{part}{year}")]
        return [*(path for path in files if path.is_file()), *images]

    @classmethod
    def read_all(cls, data_dir: AnyPath, options: DataConfig, problems: Problems) -> list[Record]:
        """Returns all images with captions."""
        year = find_year(data_dir)
        if options.splits == "random":
            records = _read_official(data_dir, year, problems.notes)
        else:
            records = _read_karpathy(data_dir, year, problems.notes)
        for part in PARTS:
            path = data_dir / "annotations" / f"instances_{part}{year}.json"
            if path.is_file():
                records = with_instances(records, path, problems.notes)
        return records


def find_year(data_dir: AnyPath) -> str:
    """Returns the year whose folders of images exist.

    Raises:
        UserError: If there is none, or one is incomplete, or there are both.
    """
    found = [year for year in YEARS if any((data_dir / f"{part}{year}").is_dir() for part in PARTS)]
    if not found:
        raise UserError(
            f"{data_dir} has no train2014/ and val2014/, and none of 2017; coco needs "
            f"{Builder.MANUAL_DOWNLOAD_INSTRUCTIONS}"
        )
    if len(found) > 1:
        raise UserError(
            f"{data_dir} has images of 2014 and of 2017, which are the same in other splits; make "
            "a folder for each, with links, and give one with --data-dir"
        )
    year = found[0]
    for part in PARTS:
        if not (data_dir / f"{part}{year}").is_dir():
            raise UserError(f"{data_dir} has no {part}{year}/; unpack {part}{year}.zip there")
    return year


def _read_official(data_dir: AnyPath, year: str, notes: list[str]) -> list[Record]:
    """Reads all images with captions, without splits: the official ones have no test split."""
    records = []
    for part in PARTS:
        path = data_dir / "annotations" / f"captions_{part}{year}.json"
        if not path.is_file():
            raise UserError(f"{path} is missing; unpack annotations_trainval{year}.zip there")
        for record in read_captions(path, data_dir / f"{part}{year}", notes):
            file_name = f"{part}{year}/{record.file_name}"
            records.append(dataclasses.replace(record, file_name=file_name))
    return records


def _read_karpathy(data_dir: AnyPath, year: str, notes: list[str]) -> list[Record]:
    """Reads Karpathy's images and splits; the images of 2017 are found by their ids."""
    path = data_dir / KARPATHY_FILE
    if not path.is_file():
        raise UserError(
            f"{data_dir} has no {KARPATHY_FILE}, and COCO's own test images have no captions; add "
            "it (from https://cs.stanford.edu/people/karpathy/deepimagesent/caption_datasets.zip), "
            "or make splits with --data.splits random (whose metrics are not comparable with "
            "published ones)"
        )
    records = read_karpathy(path, data_dir, notes)
    if year == "2014":
        return records
    moved = []
    for record in records:
        name = f"{record.image_id:0>12}.jpg"
        part = "val" if (data_dir / "val2017" / name).is_file() else "train"
        file_name = f"{part}2017/{name}"
        moved.append(dataclasses.replace(record, path=data_dir / file_name, file_name=file_name))
    return moved
