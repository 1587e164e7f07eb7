"""Own images, with captions in one file of COCO's format."""

from visem_tf.config import DataConfig
from visem_tf.datasets.folder_builder import FolderBuilder
from visem_tf.datasets.formats.coco import read_captions, with_instances, with_regions
from visem_tf.datasets.locations import path_of
from visem_tf.datasets.problems import Problems
from visem_tf.datasets.records import Record
from visem_tf.datasets.splits import assign_splits, read_split_json
from visem_tf.errors import UserError
from visem_tf.runtime.storage import AnyPath


class Builder(FolderBuilder):
    """The builder; README.md describes the files."""

    IMAGE_FOLDERS = ("images",)
    CAPTION_FILES = ("captions.json",)
    CAPTION_ENDINGS = (".json",)
    MORE_FILES = ("instances.json", "regions.json", "splits.json")
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "a folder with images/ and captions.json, and optionally instances.json, regions.json and "
        "splits.json"
    )

    @classmethod
    def read_all(cls, data_dir: AnyPath, options: DataConfig, problems: Problems) -> list[Record]:
        """Returns all images that the captions name."""
        images, captions = cls.locate(data_dir, options, problems.decisions)
        instances, regions, splits = (path_of(data_dir, name) for name in cls.MORE_FILES)
        records = read_captions(captions, images, problems.notes)
        if splits.is_file() and options.splits != "random":
            if any(record.split is not None for record in records):
                raise UserError(
                    "both splits.json and the images of the captions name splits; remove one of "
                    "them, or give --data.splits random"
                )
            records = assign_splits(records, read_split_json(splits, problems.notes), problems)
        if regions.is_file():
            records = with_regions(records, regions, problems.notes)
        if instances.is_file():
            records = with_instances(records, instances, problems.notes)
        return records
