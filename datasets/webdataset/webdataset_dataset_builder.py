"""Tar files of images with texts, the shards of WebDataset; images are read from the tar files."""

from visem_tf.config import DataConfig
from visem_tf.datasets.folder_builder import SPLIT_OPTIONS, FolderBuilder
from visem_tf.datasets.problems import Problems
from visem_tf.datasets.records import Record
from visem_tf.datasets.splits import without_only_split
from visem_tf.datasets.webdataset.shards import read_shard
from visem_tf.images.find import files_below
from visem_tf.runtime.storage import AnyPath


class Builder(FolderBuilder):
    """The builder; README.md describes the files."""

    OPTIONS = SPLIT_OPTIONS
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "a folder of tar files such as train-000000.tar or train/000000.tar, without compression, "
        "with name.txt or name.json beside each name.jpg in them"
    )

    @classmethod
    def source_files(cls, data_dir: AnyPath, options: DataConfig) -> list[AnyPath]:
        """Returns the tar files."""
        return cls.shards(data_dir)

    @classmethod
    def read_all(cls, data_dir: AnyPath, options: DataConfig, problems: Problems) -> list[Record]:
        """Returns all images in the tar files."""
        shards = cls.shards(data_dir)
        if not shards:
            raise cls.lacks(f"{data_dir} has no tar files")
        records = [
            record
            for path in shards
            for record in read_shard(path, path.relative_to(data_dir).as_posix(), problems)
        ]
        return without_only_split(records, problems)

    @classmethod
    def shards(cls, data_dir: AnyPath) -> list[AnyPath]:
        """Returns the tar files in a folder and in folders in it."""
        return sorted(path for path in files_below(data_dir, (".tar",)) if not path.is_dir())
