"""Flickr30K from the files that people have, with Flickr30k Entities where its folder is there."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import tensorflow_datasets as tfds
from etils import epath

from visem_tf.config import DataConfig
from visem_tf.datasets.collecting import collect
from visem_tf.datasets.flickr30k.entities import with_entities
from visem_tf.datasets.folder_builder import OwnPicturesBuilder
from visem_tf.datasets.formats.captions import read_piped_file, read_token_file
from visem_tf.datasets.formats.karpathy import read_karpathy
from visem_tf.datasets.problems import Problems
from visem_tf.datasets.records import Record, safe_image_id
from visem_tf.datasets.splits import find_lists, listed_splits
from visem_tf.errors import UserError
from visem_tf.runtime.storage import AnyPath

PICTURES = ("flickr30k-images", "flickr30k_images", "images")
KARPATHY_FILE = "dataset_flickr30k.json"
TOKEN_FILE = "results_20130124.token"
CSV_FILE = "results.csv"
CAPTIONS = (KARPATHY_FILE, TOKEN_FILE, CSV_FILE)
ENTITIES = ("Flickr30kEntities", "flickr30k_entities", "Flickr30k_Entities")


class Builder(OwnPicturesBuilder):
    """The builder; README.md beside it describes the files."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First version."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f"a folder with {PICTURES[0]}/ and {KARPATHY_FILE} or {TOKEN_FILE}: the pictures (a form "
        "at https://shannon.cs.illinois.edu/DenotationGraph/) unpacked from "
        "flickr30k-images.tar.gz, and dataset_flickr30k.json from Karpathy's caption_datasets.zip "
        "(https://cs.stanford.edu/people/karpathy/deepimagesent/caption_datasets.zip); with "
        f"{ENTITIES[0]}/ (https://github.com/BryanPlummer/flickr30k_entities, annotations.zip "
        "unpacked in it) come boxes of phrases"
    )
    PICTURE_FOLDERS = PICTURES
    CAPTION_FILES = CAPTIONS
    HOMEPAGE = "https://shannon.cs.illinois.edu/DenotationGraph/"
    pkg_dir_path = epath.Path(__file__).parent

    @classmethod
    def other_files(cls, data_dir: AnyPath) -> list[AnyPath]:
        """The files of Entities, where they are."""
        entities = find_entities(data_dir)
        if entities is None:
            return []
        files = list(find_lists(entities).values())
        for name in ("Sentences", "Annotations"):
            files += sorted((entities / name).iterdir(), key=lambda path: path.name)
        return files

    @classmethod
    def read_records(
        cls, data_dir: AnyPath, options: DataConfig, problems: Problems
    ) -> dict[str, list[Record]]:
        """Returns the usable pictures of each split."""
        pictures, captions = cls.places(data_dir, options)
        entities = find_entities(data_dir)
        lists = find_lists(entities) if entities is not None else {}
        records = _read_captions(captions, pictures, problems.notes)
        has_splits = any(record.split is not None for record in records)
        if options.splits == "entities" or (options.splits == "auto" and not has_splits and lists):
            if not lists:
                raise UserError(
                    f"{entities or data_dir} has no train.txt, val.txt and test.txt of Flickr30k "
                    "Entities; leave --data.splits entities out"
                )
            records = [dataclasses.replace(record, split=None) for record in records]
            records = listed_splits(records, lists, problems)
            problems.decisions.append("splits are those of Flickr30k Entities, not Karpathy's")
        elif not has_splits and options.splits != "random":
            raise UserError(
                f"{captions} names no splits; add Karpathy's {KARPATHY_FILE}, or Flickr30k "
                "Entities, or let splits be made with --data.splits random (figures then do not "
                "compare with anybody's)"
            )
        if entities is not None:
            records = with_entities(records, entities, problems.notes)
        return collect(cls.name, records, options, problems)


def find_entities(data_dir: AnyPath) -> AnyPath | None:
    """Returns the folder of Flickr30k Entities; None where there is none.

    Raises:
        UserError: a folder of it is there without the other; `annotations.zip` is still packed.
    """
    for folder in (*(data_dir / name for name in ENTITIES), data_dir):
        there = [name for name in ("Sentences", "Annotations") if (folder / name).is_dir()]
        if len(there) == 2:
            return folder
        if there or (folder != data_dir and folder.is_dir()):
            raise UserError(
                f"{folder} must hold Sentences/ and Annotations/; unpack annotations.zip of "
                "Flickr30k Entities in it, or remove it"
            )
    return None


def _read_captions(captions: AnyPath, pictures: AnyPath, notes: list[str]) -> list[Record]:
    if captions.suffix.lower() == ".json":
        return read_karpathy(captions, pictures, notes)
    read = read_piped_file if captions.suffix.lower() == ".csv" else read_token_file
    return [
        Record(safe_image_id(name), pictures / name, sentences, file_name=name)
        for name, sentences in read(captions, notes).items()
    ]
