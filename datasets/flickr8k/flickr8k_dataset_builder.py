"""Flickr8K from the files as they are distributed."""

from __future__ import annotations

import dataclasses
import re
from typing import ClassVar

import tensorflow_datasets as tfds
from etils import epath

from visem_tf.config import DataConfig
from visem_tf.datasets import schema
from visem_tf.datasets.folder_builder import FolderBuilder
from visem_tf.datasets.formats.captions import read_csv_file, read_token_file
from visem_tf.datasets.formats.text import read_lines
from visem_tf.datasets.problems import Problems, listed
from visem_tf.datasets.records import Record, has_words, safe_image_id
from visem_tf.errors import UserError
from visem_tf.runtime.storage import AnyPath, file_names

PICTURE_FOLDERS = ("Flicker8k_Dataset", "Flickr8k_Dataset", "Images")
TOKEN_FILE = "Flickr8k.token.txt"
CSV_FILE = "captions.txt"
SPLIT_FILES = {
    "train": "Flickr_8k.trainImages.txt",
    "val": "Flickr_8k.devImages.txt",
    "test": "Flickr_8k.testImages.txt",
}
_BAD_NAME = re.compile(r"(?P<name>.+\.\w{2,5})\.\d+")


@dataclasses.dataclass(frozen=True)
class Distribution:
    """Where the files of Flickr8K lie in a user's folder.

    Attributes:
        pictures: the folder of the pictures.
        captions: `Flickr8k.token.txt` or `captions.txt`.
        splits: the three files that name the pictures of a split.
        notes: what was decided where more than one file would do.
    """

    pictures: AnyPath
    captions: AnyPath
    splits: dict[str, AnyPath]
    notes: tuple[str, ...] = ()

    @classmethod
    def find(cls, data_dir: AnyPath) -> Distribution:
        """Finds the files.

        Args:
            data_dir: the user's folder.

        Raises:
            UserError: names what is missing.
        """
        advice = f"flickr8k is read from {PICTURE_FOLDERS[0]}/, {TOKEN_FILE} or {CSV_FILE}, and "
        advice += ", ".join(SPLIT_FILES.values())
        notes = []
        folders = [data_dir / name for name in PICTURE_FOLDERS if (data_dir / name).is_dir()]
        if not folders:
            raise UserError(
                f"{data_dir} has no folder of pictures ({' or '.join(PICTURE_FOLDERS)}); {advice}"
            )
        if len(folders) > 1:
            notes.append(f"pictures are read from {folders[0].name}, not from {folders[1].name}")
        captions = [
            data_dir / name for name in (TOKEN_FILE, CSV_FILE) if (data_dir / name).is_file()
        ]
        if not captions:
            raise UserError(f"{data_dir} has neither {TOKEN_FILE} nor {CSV_FILE}; {advice}")
        if len(captions) > 1:
            notes.append(f"captions are read from {TOKEN_FILE}; {CSV_FILE} is not used")
        for name in SPLIT_FILES.values():
            if not (data_dir / name).is_file():
                raise UserError(f"{data_dir} has no {name}; {advice}")
        splits = {split: data_dir / name for split, name in SPLIT_FILES.items()}
        return cls(folders[0], captions[0], splits, tuple(notes))

    def read_captions(self, notes: list[str]) -> dict[str, list[str]]:
        """Returns the captions of each picture name."""
        read = read_token_file if self.captions.name == TOKEN_FILE else read_csv_file
        return read(self.captions, notes)

    def read_splits(self, notes: list[str]) -> dict[str, list[str]]:
        """Returns the picture names of each split, in order, each name in one split only.

        A name in two splits stays where it is evaluated, in test before val before train, so that
        nothing is trained on what is tested.

        Raises:
            UserError: a split names no picture.
        """
        names: dict[str, dict[str, None]] = {}  # as an ordered set
        taken: dict[str, str] = {}
        for split in ("test", "val", "train"):
            listed_names = [line.strip() for line in read_lines(self.splits[split], notes)]
            listed_names = [name for name in listed_names if name]
            if not listed_names:
                raise UserError(f"{self.splits[split]} names no picture; mend or replace it")
            names[split] = dict.fromkeys(name for name in listed_names if name not in taken)
            for name in listed_names:
                if name in taken and taken[name] != split:
                    notes.append(f"{name} is in {split} and {taken[name]}: kept in {taken[name]}")
            if len(set(listed_names)) < len(listed_names):
                notes.append(f"{self.splits[split].name} names some pictures more than once")
            taken.update(dict.fromkeys(names[split], split))
        return {split: list(names[split]) for split in schema.SPLITS}


class Builder(FolderBuilder):
    """The builder; README.md beside it says what it does with whatever is odd."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First version."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f"a folder with {PICTURE_FOLDERS[0]}/, {TOKEN_FILE} and {', '.join(SPLIT_FILES.values())}: "
        "unpack Flickr8k_Dataset.zip and Flickr8k_text.zip into it, which are asked for at "
        "https://forms.illinois.edu/sec/1713398"
    )
    HOMEPAGE = "https://hockenmaier.cs.illinois.edu/8k-pictures.html"
    pkg_dir_path = epath.Path(__file__).parent

    @classmethod
    def source_files(cls, data_dir: AnyPath, options: DataConfig | None = None) -> list[AnyPath]:
        """Returns the texts and those pictures of the splits that exist."""
        found = Distribution.find(data_dir)
        wanted = {name for names in found.read_splits([]).values() for name in names}
        pictures = [found.pictures / name for name in sorted(wanted & file_names(found.pictures))]
        return [found.captions, *found.splits.values(), *pictures]

    @classmethod
    def read_records(
        cls, data_dir: AnyPath, options: DataConfig, problems: Problems
    ) -> dict[str, list[Record]]:
        """Returns the usable pictures of each split."""
        return make_records(Distribution.find(data_dir), problems)


def make_records(found: Distribution, problems: Problems) -> dict[str, list[Record]]:
    """Joins splits, captions and the pictures that exist, without opening a picture.

    Args:
        found: where the files lie.
        problems: receives what does not fit together.

    Returns:
        The usable records of each split.

    Raises:
        UserError: nothing is left of a split, or the files cannot be understood.
    """
    notes = problems.notes
    problems.decisions.extend(found.notes)
    captions = found.read_captions(notes)
    splits = found.read_splits(notes)
    wanted = {name for names in splits.values() for name in names}
    _mend_bad_names(captions, wanted, notes)
    if in_no_split := sorted(captions.keys() - wanted):
        count = len(in_no_split)
        problems.decisions.append(
            f"captions of pictures that are in no split: {count} ({listed(in_no_split)})"
        )
    _drop_empty(captions, wanted, notes)
    exists = file_names(found.pictures)
    records: dict[str, list[Record]] = {split: [] for split in splits}
    for split, names in splits.items():
        reasons = []
        for name in names:
            if name not in exists:
                reasons.append(f"{split}: {name}: not in {found.pictures.name}")
            elif not captions.get(name):
                reasons.append(f"{split}: {name}: no caption in {found.captions.name}")
            else:
                path = found.pictures / name
                records[split].append(Record(safe_image_id(name), path, captions[name]))
        problems.skipped.extend(reasons)
        if not records[split]:
            raise UserError(
                f"flickr8k: no picture of the {split} split can be used; compare "
                f"{found.splits[split]} with {found.pictures}. The first problem: {reasons[0]}"
            )
    return records


def _mend_bad_names(captions: dict[str, list[str]], wanted: set[str], notes: list[str]) -> None:
    """Gives captions of `name.jpg.1` to `name.jpg` where a split has that and it has none."""
    for bad_name in sorted(captions.keys() - wanted):
        match = _BAD_NAME.fullmatch(bad_name)
        if match and match["name"] in wanted and match["name"] not in captions:
            captions[match["name"]] = captions.pop(bad_name)
            notes.append(f"captions of {bad_name} were taken as those of {match['name']}")


def _drop_empty(captions: dict[str, list[str]], wanted: set[str], notes: list[str]) -> None:
    """Drops the captions in which nothing is left after tokenising."""
    names = sorted(captions.keys() & wanted)
    kept = iter(has_words([caption for name in names for caption in captions[name]]))
    for name in names:
        full = []
        for number, caption in enumerate(captions[name]):
            if next(kept):
                full.append(caption)
            else:
                notes.append(f"dropped caption {number} of {name}, which has no words: {caption!r}")
        captions[name] = full
