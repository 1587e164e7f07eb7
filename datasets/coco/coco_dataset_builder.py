"""COCO captions from local folders, or from TensorFlow Datasets' own `coco_captions`."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from visem_tf.config import DataConfig
from visem_tf.datasets import schema
from visem_tf.datasets.coco.from_tfds import generate_examples
from visem_tf.datasets.folder_builder import SPLIT_OPTIONS, FolderBuilder
from visem_tf.datasets.formats.coco import read_captions, with_instances
from visem_tf.datasets.formats.karpathy import read_karpathy
from visem_tf.datasets.locations import all_named, named, path_of
from visem_tf.datasets.problems import Problems
from visem_tf.datasets.records import Record
from visem_tf.errors import UserError
from visem_tf.images.find import images_in
from visem_tf.runtime.storage import AnyPath

KARPATHY_FILE = "dataset_coco.json"
YEARS = ("2014", "2017")
PARTS = ("train", "val")
FOLDERS = tuple(f"{part}{year}" for year in YEARS for part in PARTS)


# Not registered: TensorFlow Datasets has a dataset of that name, which coco_captions is based on.
class Builder(FolderBuilder, skip_registration=True):
    """The builder; README.md describes the files and the variants."""

    name = "coco"
    BUILDER_CONFIGS: ClassVar[list[tfds.core.BuilderConfig]] = [
        tfds.core.BuilderConfig(name="local", description="From a folder, of 2014 or of 2017."),
        tfds.core.BuilderConfig(name="tfds", description="From TFDS' coco_captions."),
    ]
    WITHOUT_FOLDER = ("tfds",)
    IMAGE_FOLDERS = (*FOLDERS, "images")
    MORE_FILES = (KARPATHY_FILE,)
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
        images = [image for folder in find_folders(data_dir) for image in images_in(folder)]
        files = [*_annotations(data_dir, "captions"), *_annotations(data_dir, "instances")]
        return [*named(data_dir, [KARPATHY_FILE]), *files, *images]

    @classmethod
    def read_all(cls, data_dir: AnyPath, options: DataConfig, problems: Problems) -> list[Record]:
        """Returns all images with captions."""
        folders = find_folders(data_dir)
        if options.splits == "random":
            records = _read_official(data_dir, folders, problems.notes)
        else:
            records = _read_karpathy(data_dir, problems.notes)
        records = _with_files(records, folders, problems)
        for path in _annotations(data_dir, "instances"):
            added = with_instances(records, path, problems.notes)
            # The files of another year have the same objects.
            records = [old if old.phrases else new for old, new in zip(records, added, strict=True)]
        return records


def find_folders(data_dir: AnyPath) -> list[AnyPath]:
    """Returns the folders of images, in the data's or in `images/`; those of 2014 come first.

    Without them, `images/` itself may have the images of COCO's files of captions.

    Raises:
        UserError: If there is none.
    """
    bases = (data_dir, path_of(data_dir, "images"))
    found = [path for base in bases for path in all_named(base, FOLDERS)]
    if not found and _annotations(data_dir, "captions"):
        found = [path for path in named(data_dir, ["images"]) if path.is_dir()]
    if not found:
        raise Builder.lacks(f"{data_dir} has no train2014/ and val2014/, and none of 2017")
    return found


def _annotations(data_dir: AnyPath, kind: str) -> list[AnyPath]:
    """Returns the files of "captions" or "instances" that exist."""
    names = [f"{kind}_{folder}.json" for folder in FOLDERS]
    bases = (path_of(data_dir, "annotations"), data_dir)
    return [path for base in bases for path in all_named(base, names)]


def _read_official(data_dir: AnyPath, folders: Sequence[AnyPath], notes: list[str]) -> list[Record]:
    """Reads all images with captions, without splits: the official ones have no test split.

    The captions of one year are also those of the images of the other.
    """
    paths = _annotations(data_dir, "captions")
    names = {path.name.lower() for path in paths}
    parts = [name for name in (folder.name.lower() for folder in folders) if name in FOLDERS]
    missing = [part for part in parts if f"captions_{part}.json" not in names]
    whole = any({f"captions_{part}{year}.json" for part in PARTS} <= names for year in YEARS)
    if missing and not whole:
        raise UserError(
            f"{data_dir / 'annotations' / f'captions_{missing[0]}.json'} is missing; unpack "
            f"annotations_trainval{missing[0][-4:]}.zip there"
        )
    records: dict[str, Record] = {}
    for path in paths:
        folder = path.stem.lower().removeprefix("captions_")
        for record in read_captions(path, data_dir / folder, notes):
            file_name = f"{folder}/{PurePosixPath(record.file_name).name}"
            records.setdefault(record.image_id, dataclasses.replace(record, file_name=file_name))
    return list(records.values())


def _read_karpathy(data_dir: AnyPath, notes: list[str]) -> list[Record]:
    """Reads Karpathy's images and splits."""
    path = path_of(data_dir, KARPATHY_FILE)
    if not path.is_file():
        raise UserError(
            f"{data_dir} has no {KARPATHY_FILE}, and COCO's own test images have no captions; add "
            "it (from https://cs.stanford.edu/people/karpathy/deepimagesent/caption_datasets.zip), "
            "or make splits with --data.splits random (whose metrics are not comparable with "
            "published ones)"
        )
    return read_karpathy(path, data_dir, notes)


def _with_files(
    records: Sequence[Record], folders: Sequence[AnyPath], problems: Problems
) -> list[Record]:
    """Finds the files of images by COCO's ids, which are the same in every year and part.

    Images without a file stay as they are if both parts of a year are there, so that they are
    listed as missing; otherwise they are left out.
    """
    files: dict[str, tuple[AnyPath, str]] = {}
    for folder in folders:
        for image in images_in(folder):
            number = image.stem.rpartition("_")[2].lstrip("0") or "0"
            name = f"{folder.name}/{image.relative_to(folder).as_posix()}"
            files.setdefault(number, (image, name))
    names = {folder.name.lower() for folder in folders}
    complete = any({f"{part}{year}" for part in PARTS} <= names for year in YEARS)
    found, absent = [], 0
    for record in records:
        if record.image_id in files:
            path, name = files[record.image_id]
            found.append(dataclasses.replace(record, path=path, file_name=name))
        elif complete:
            found.append(record)
        else:
            absent += 1
    if absent:
        parts = ", ".join(folder.name for folder in folders)
        problems.decisions.append(
            f"only {parts} has images; {absent} images of other parts are not used"
        )
    return found
