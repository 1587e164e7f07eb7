"""A folder of pictures with a text beside each: `name.jpg` and `name.txt`."""

from __future__ import annotations

from typing import ClassVar

import tensorflow_datasets as tfds
from etils import epath

from visem_tf.config import DataConfig
from visem_tf.datasets.collecting import collect
from visem_tf.datasets.folder_builder import FolderBuilder
from visem_tf.datasets.formats.text import read_lines
from visem_tf.datasets.locations import below, pictures_in
from visem_tf.datasets.problems import Problems, listed
from visem_tf.datasets.records import Record, safe_image_id
from visem_tf.datasets.splits import SPLIT_NAMES
from visem_tf.errors import UserError
from visem_tf.runtime.storage import AnyPath


class Builder(FolderBuilder):
    """The builder; README.md beside it describes the files."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First version."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        "a folder with name.txt beside each name.jpg, a sentence in each line; folders train/, "
        "val/ and test/ in it are splits"
    )
    OPTIONS = ("pictures", "splits", "val_share", "test_share", "split_seed")
    pkg_dir_path = epath.Path(__file__).parent

    @classmethod
    def source_files(cls, data_dir: AnyPath, options: DataConfig | None = None) -> list[AnyPath]:
        """Returns all pictures and the texts beside them."""
        pictures = pictures_in(_pictures(data_dir, options or DataConfig()))
        texts = [_text_beside(path) for path in pictures]
        return [*pictures, *(path for path in texts if path.is_file())]

    @classmethod
    def read_records(
        cls, data_dir: AnyPath, options: DataConfig, problems: Problems
    ) -> dict[str, list[Record]]:
        """Returns the usable pictures of each split."""
        folder = _pictures(data_dir, options)
        pictures = pictures_in(folder)
        if not pictures:
            raise UserError(f"{folder} holds no pictures; give the folder with --data-dir")
        stems: dict[AnyPath, AnyPath] = {}
        records, twice = [], []
        for path in pictures:
            text = _text_beside(path)
            file_name = path.relative_to(folder).as_posix()  # type: ignore[arg-type]
            if text in stems:
                twice.append(f"{stems[text].name} and {path.name}")
                continue
            stems[text] = path
            lines = read_lines(text, problems.notes) if text.is_file() else []
            top = file_name.split("/")[0].lower() if "/" in file_name else ""
            records.append(
                Record(
                    safe_image_id(file_name),
                    path,
                    [line.strip() for line in lines if line.strip()],
                    file_name=file_name,
                    split=top if top in SPLIT_NAMES else None,
                )
            )
        if twice:
            raise UserError(
                f"{folder}: two pictures share one text, and nobody knows whose it is: "
                f"{listed(twice)}; rename one of them"
            )
        return collect(cls.name, records, options, problems)


def _pictures(data_dir: AnyPath, options: DataConfig) -> AnyPath:
    if not options.pictures:
        return data_dir
    folder = below(data_dir, options.pictures)
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}; mend --data.pictures")
    return folder


def _text_beside(path: AnyPath) -> AnyPath:
    return path.parent / f"{path.stem}.txt"
