"""Pictures with one text file of captions: CSV, or a name and a caption with a tab between."""

from __future__ import annotations

from typing import ClassVar

import tensorflow_datasets as tfds
from etils import epath

from visem_tf.config import DataConfig
from visem_tf.datasets.collecting import collect
from visem_tf.datasets.folder_builder import OwnPicturesBuilder
from visem_tf.datasets.formats.captions import read_caption_file
from visem_tf.datasets.problems import Problems
from visem_tf.datasets.records import Record, safe_image_id
from visem_tf.datasets.splits import find_lists, listed_splits
from visem_tf.runtime.storage import AnyPath

CAPTIONS = ("captions.txt", "captions.csv", "captions.tsv")
PICTURES = ("images", "Images")


class Builder(OwnPicturesBuilder):
    """The builder; README.md beside it describes the files."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First version."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f"a folder with {PICTURES[0]}/ and {CAPTIONS[0]}; train.txt, val.txt and test.txt may be "
        "there"
    )
    PICTURE_FOLDERS = PICTURES
    CAPTION_FILES = CAPTIONS
    pkg_dir_path = epath.Path(__file__).parent

    @classmethod
    def other_files(cls, data_dir: AnyPath) -> list[AnyPath]:
        """The lists of the splits, where they are."""
        return list(find_lists(data_dir).values())

    @classmethod
    def read_records(
        cls, data_dir: AnyPath, options: DataConfig, problems: Problems
    ) -> dict[str, list[Record]]:
        """Returns the usable pictures of each split."""
        pictures, path = cls.places(data_dir, options)
        captions = read_caption_file(path, problems.notes)
        records = [
            Record(safe_image_id(name), pictures / name, sentences, file_name=name)
            for name, sentences in captions.items()
        ]
        if options.splits != "random":
            records = listed_splits(records, find_lists(data_dir), problems)
        return collect(cls.name, records, options, problems)
