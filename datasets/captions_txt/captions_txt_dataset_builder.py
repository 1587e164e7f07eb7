"""Images with one table of captions: delimited text or Parquet."""

from visem_tf.config import DataConfig
from visem_tf.datasets.folder_builder import FolderBuilder
from visem_tf.datasets.formats.captions import read_table, table_records
from visem_tf.datasets.problems import Problems
from visem_tf.datasets.records import Record
from visem_tf.datasets.splits import assign_splits, find_lists, read_lists
from visem_tf.runtime.storage import AnyPath


class Builder(FolderBuilder):
    """The builder; README.md describes the files."""

    IMAGE_FOLDERS = ("images",)
    CAPTION_FILES = ("captions.txt", "captions.csv", "captions.tsv", "captions.parquet")
    CAPTION_ENDINGS = (".csv", ".tsv", ".parquet")
    MORE_FILES = ("train.txt", "val.txt", "test.txt")
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "a folder with images/ and captions.txt, and optionally train.txt, val.txt and test.txt"
    )

    @classmethod
    def read_all(cls, data_dir: AnyPath, options: DataConfig, problems: Problems) -> list[Record]:
        """Returns all images that the captions name."""
        images, captions = cls.locate(data_dir, options, problems.decisions)
        records = table_records(read_table(captions, problems), images)
        lists = {} if options.splits == "random" else find_lists(data_dir)
        if not lists:
            return records
        return assign_splits(records, read_lists(lists, problems.notes), problems)
