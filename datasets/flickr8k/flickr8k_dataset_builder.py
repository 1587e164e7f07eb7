"""Flickr8K from the files as they are distributed, with Flickr30k Entities if its folder exists."""

import re

from visem_tf.config import DataConfig
from visem_tf.datasets.folder_builder import SPLIT_OPTIONS, FolderBuilder
from visem_tf.datasets.formats.captions import caption_records, captions_by_name, read_table
from visem_tf.datasets.formats.entities import (
    ARCHIVE,
    FOLDERS,
    entities_files,
    find_entities,
    with_entities,
)
from visem_tf.datasets.locations import innermost, named
from visem_tf.datasets.problems import Problems
from visem_tf.datasets.records import Record
from visem_tf.datasets.splits import assign_splits, read_lists
from visem_tf.images.find import images_in
from visem_tf.runtime.storage import AnyPath

PICTURE_FOLDERS = ("Flicker8k_Dataset", "Flickr8k_Dataset", "Images")
TOKEN_FILE = "Flickr8k.token.txt"
SPLIT_FILES = {
    "train": "Flickr_8k.trainImages.txt",
    "val": "Flickr_8k.devImages.txt",
    "test": "Flickr_8k.testImages.txt",
}
_BAD_NAME = re.compile(r"(?P<name>.+\.\w{2,5})\.\d+")


class Builder(FolderBuilder):
    """The builder; README.md describes the files and how invalid input is handled."""

    IMAGE_FOLDERS = PICTURE_FOLDERS
    CAPTION_FILES = (TOKEN_FILE, "captions.txt")
    OPTIONS = SPLIT_OPTIONS
    HOMEPAGE = "https://hockenmaier.cs.illinois.edu/8k-pictures.html"
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f"a folder with {PICTURE_FOLDERS[0]}/, {TOKEN_FILE} or captions.txt, and "
        f"{', '.join(SPLIT_FILES.values())}: unpack Flickr8k_Dataset.zip and Flickr8k_text.zip "
        "into it, which can be requested at https://forms.illinois.edu/sec/1713398; for boxes of "
        f"phrases, {FOLDERS[0]}/ (https://github.com/BryanPlummer/flickr30k_entities, with "
        f"{ARCHIVE} in it, packed or unpacked)"
    )

    @classmethod
    def source_files(cls, data_dir: AnyPath, options: DataConfig) -> list[AnyPath]:
        """Returns the files of texts and all images."""
        images, captions, lists = cls._find(data_dir, options, [])
        entities = find_entities(data_dir)
        boxes = [] if entities is None else entities_files(entities)
        return [captions, *lists.values(), *boxes, *images_in(images)]

    @classmethod
    def read_all(cls, data_dir: AnyPath, options: DataConfig, problems: Problems) -> list[Record]:
        """Returns all images of the splits, with the phrases of Entities."""
        images, path, lists = cls._find(data_dir, options, problems.decisions)
        captions = captions_by_name(read_table(path, problems))
        splits = read_lists(lists, problems.notes)
        for split, names in splits.items():
            if len(set(names)) < len(names):
                problems.notes.append(f"{lists[split].name} names some images more than once")
        wanted = {name for names in splits.values() for name in names}
        _correct_bad_names(captions, wanted, problems.notes)
        for name in sorted(wanted - captions.keys()):
            captions[name] = []
        records = caption_records(captions, images)
        if lists:
            records = assign_splits(records, splits, problems)
        elif options.splits == "auto":
            problems.decisions.append(
                f"there is no {SPLIT_FILES['train']} and its like, so that metrics are not "
                "comparable with published ones"
            )
        entities = find_entities(data_dir)
        return records if entities is None else with_entities(records, entities, problems)

    @classmethod
    def _find(
        cls, data_dir: AnyPath, options: DataConfig, decisions: list[str]
    ) -> tuple[AnyPath, AnyPath, dict[str, AnyPath]]:
        """Returns the folder of images, the file of captions and the lists of the splits.

        Kaggle's form has no lists: then there are none, unless some of them are there.
        """
        found = []
        lists = [(name,) for name in SPLIT_FILES.values()]
        if options.splits == "random" or not named(data_dir, list(SPLIT_FILES.values())):
            lists = []
        for names in (cls.IMAGE_FOLDERS, cls.CAPTION_FILES, *lists):
            there = named(data_dir, names)
            if not there:
                raise cls.lacks(f"{data_dir} has no {' or '.join(names)}")
            if len(there) > 1:
                decisions.append(f"{there[0].name} is read; {there[1].name} is not used")
            found.append(there[0])
        return innermost(found[0]), found[1], dict(zip(SPLIT_FILES, found[2:], strict=False))


def _correct_bad_names(captions: dict[str, list[str]], wanted: set[str], notes: list[str]) -> None:
    """Gives the captions of `name.jpg.1` to `name.jpg` if that is in a split and has none."""
    for bad_name in sorted(captions.keys() - wanted):
        match = _BAD_NAME.fullmatch(bad_name)
        if match and match["name"] in wanted and match["name"] not in captions:
            captions[match["name"]] = captions.pop(bad_name)
            notes.append(f"captions of {bad_name} were taken as those of {match['name']}")
