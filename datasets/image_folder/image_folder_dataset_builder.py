"""Images with metadata in the same folder, the layout of ImageFolder in Hugging Face's Datasets."""

import dataclasses
from pathlib import PurePosixPath

from visem_tf.config import DataConfig
from visem_tf.datasets.folder_builder import SPLIT_OPTIONS, FolderBuilder
from visem_tf.datasets.formats.captions import read_table, table_records
from visem_tf.datasets.formats.json_lines import read_json_lines
from visem_tf.datasets.locations import named, visible
from visem_tf.datasets.problems import Problems
from visem_tf.datasets.records import Record, safe_image_id
from visem_tf.datasets.splits import split_of, without_only_split
from visem_tf.errors import UserError
from visem_tf.images.find import images_in
from visem_tf.runtime.storage import AnyPath


class Builder(FolderBuilder):
    """The builder; README.md describes the files."""

    CAPTION_FILES = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
    OPTIONS = SPLIT_OPTIONS
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "a folder of images with metadata.csv, metadata.jsonl or metadata.parquet, or folders "
        "train/, validation/ and test/ of this form"
    )

    @classmethod
    def source_files(cls, data_dir: AnyPath, options: DataConfig) -> list[AnyPath]:
        """Returns the files of metadata and all images."""
        return [*cls.metadata_files(data_dir), *images_in(data_dir)]

    @classmethod
    def read_all(cls, data_dir: AnyPath, options: DataConfig, problems: Problems) -> list[Record]:
        """Returns all images that the metadata name."""
        files = cls.metadata_files(data_dir)
        if not files:
            raise UserError(
                f"{data_dir} has no {' or '.join(cls.CAPTION_FILES)}, and neither has a folder of "
                "a split in it; correct --data-dir"
            )
        records = [record for file in files for record in _read(file, data_dir, problems)]
        return without_only_split(records, problems)

    @classmethod
    def metadata_files(cls, data_dir: AnyPath) -> list[AnyPath]:
        """Returns the files of metadata: of the folder, of its splits, and of those in `data/`.

        Raises:
            UserError: If a folder has several.
        """
        outer = [path for path in (data_dir, data_dir / "data") if path.is_dir()]
        splits = [path for folder in outer for path in visible(folder) if split_of(path.name)]
        found = [named(folder, cls.CAPTION_FILES) for folder in (data_dir, *splits)]
        for files in found:
            if len(files) > 1:
                raise UserError(
                    f"{files[0].parent} has {files[0].name} and {files[1].name}; remove one"
                )
        return [file for files in found for file in files]


def _read(file: AnyPath, data_dir: AnyPath, problems: Problems) -> list[Record]:
    """Returns the records of a file, with names below `data_dir`.

    The split is that of the metadata, or else the first folder that is named like one.
    """
    if file.suffix.lower() == ".jsonl":
        records = read_json_lines(file, file.parent, problems.notes)
    else:
        records = table_records(read_table(file, problems), file.parent)
    folder, placed = PurePosixPath(file.parent.relative_to(data_dir).as_posix()), []
    for record in records:
        name = str(folder / record.file_name)
        has_own_id = record.image_id != safe_image_id(record.file_name)
        split = next(filter(split_of, PurePosixPath(name).parts[:-1]), None)
        placed.append(
            dataclasses.replace(
                record,
                image_id=record.image_id if has_own_id else name,
                file_name=name,
                split=record.split or split,
            )
        )
    return placed
