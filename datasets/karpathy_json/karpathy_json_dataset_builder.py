"""Pictures with Karpathy's `dataset.json`, as neuraltalk keeps them."""

from __future__ import annotations

from typing import ClassVar

import tensorflow_datasets as tfds
from etils import epath

from visem_tf.config import DataConfig
from visem_tf.datasets.collecting import collect
from visem_tf.datasets.folder_builder import OwnPicturesBuilder
from visem_tf.datasets.formats.karpathy import read_karpathy
from visem_tf.datasets.problems import Problems
from visem_tf.datasets.records import Record
from visem_tf.runtime.storage import AnyPath

CAPTIONS = (
    "dataset.json",
    "dataset_flickr8k.json",
    "dataset_flickr30k.json",
    "dataset_coco.json",
)
PICTURES = ("images", "imgs", "Flicker8k_Dataset", "Flickr8k_Dataset", "flickr30k-images")


class Builder(OwnPicturesBuilder):
    """The builder; README.md beside it describes the files."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First version."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f"a folder with {PICTURES[0]}/ and {CAPTIONS[0]} or one of {', '.join(CAPTIONS[1:])}"
    )
    PICTURE_FOLDERS = PICTURES
    CAPTION_FILES = CAPTIONS
    pkg_dir_path = epath.Path(__file__).parent

    @classmethod
    def read_records(
        cls, data_dir: AnyPath, options: DataConfig, problems: Problems
    ) -> dict[str, list[Record]]:
        """Returns the usable pictures of each split."""
        pictures, captions = cls.places(data_dir, options)
        records = read_karpathy(captions, pictures, problems.notes)
        return collect(cls.name, records, options, problems)
