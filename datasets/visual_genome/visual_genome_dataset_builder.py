"""Visual Genome's region descriptions: every phrase is a sentence about its box."""

from typing import Any

from visem_tf.config import DataConfig
from visem_tf.datasets.folder_builder import SPLIT_OPTIONS, FolderBuilder
from visem_tf.datasets.formats.coco import corners
from visem_tf.datasets.formats.text import read_json
from visem_tf.datasets.locations import all_named, path_of
from visem_tf.datasets.problems import Problems, add_listed
from visem_tf.datasets.records import Box, Phrase, Record
from visem_tf.datasets.splits import assign_splits, read_split_json
from visem_tf.errors import UserError
from visem_tf.images.find import images_in
from visem_tf.runtime.storage import AnyPath, file_names

REGIONS = "region_descriptions.json"
IMAGES = "image_data.json"
SPLITS = "densecap_splits.json"


class Builder(FolderBuilder):
    """The builder; README.md describes the files."""

    IMAGE_FOLDERS = ("VG_100K", "VG_100K_2", "images")
    MORE_FILES = (REGIONS, IMAGES, SPLITS)
    OPTIONS = SPLIT_OPTIONS
    HOMEPAGE = "https://homes.cs.washington.edu/~ranjay/visualgenome"
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f"a folder with VG_100K/ and VG_100K_2/ (images.zip and images2.zip) and {REGIONS} "
        f"(region_descriptions.json.zip, unpacked), from {HOMEPAGE}/api.html, and optionally "
        f"{IMAGES} and {SPLITS}"
    )

    @classmethod
    def source_files(cls, data_dir: AnyPath, options: DataConfig) -> list[AnyPath]:
        """Returns the files of texts and all images."""
        images = [image for folder in cls._folders(data_dir) for image in images_in(folder)]
        return [*cls.more_files(data_dir), *images]

    @classmethod
    def read_all(cls, data_dir: AnyPath, options: DataConfig, problems: Problems) -> list[Record]:
        """Returns all images with regions."""
        regions, images, splits = (path_of(data_dir, name) for name in cls.MORE_FILES)
        folders = {folder: file_names(folder) for folder in cls._folders(data_dir)}
        if not regions.is_file():
            raise cls.lacks(f"{data_dir} has no {REGIONS}")
        sizes = _read_sizes(images, problems.notes) if images.is_file() else {}
        records = []
        for image_id, described in _read_regions(regions, problems.notes).items():
            name = f"{image_id}.jpg"
            folder = next((each for each in folders if name in folders[each]), next(iter(folders)))
            phrases = [
                Phrase(number, text, box, number) for number, (text, box) in enumerate(described)
            ]
            sentences = [text for text, _ in described]
            size = sizes.get(image_id)
            records.append(Record(image_id, folder / name, sentences, phrases, size=size))
        if options.splits != "random" and splits.is_file():
            records = assign_splits(records, read_split_json(splits, problems.notes), problems)
        return records

    @classmethod
    def _folders(cls, data_dir: AnyPath) -> list[AnyPath]:
        folders = [path for path in all_named(data_dir, cls.IMAGE_FOLDERS) if path.is_dir()]
        if not folders:
            names = " or ".join(cls.IMAGE_FOLDERS)
            raise cls.lacks(f"{data_dir} has no folder of images ({names})")
        return folders


def _read_regions(path: AnyPath, notes: list[str]) -> dict[str, list[tuple[str, Box]]]:
    """Returns phrases and pixel boxes by image id; invalid regions are left out and listed.

    Both spellings of the fields are read: a region names its image `image` or `image_id`, its own
    number `id` or `region_id`; the id of an image is at the image (`id`, `image_id`) or in its
    regions.
    """
    data = read_json(path, notes)
    if not isinstance(data, list) or not data:
        raise UserError(f'{path} must be a list of {{"id", "regions": [...]}}; fix or replace it')
    found: dict[str, list[tuple[str, Box]]] = {}
    bad_images, bad = [], []
    for number, image in enumerate(data):
        regions = image.get("regions") if isinstance(image, dict) else None
        if not isinstance(regions, list):
            bad_images.append(str(number))
            continue
        image_id = _identifier(image, "id", "image_id")
        for region in regions:
            image_id = image_id or _identifier(region, "image_id", "image")
        if image_id is None:
            bad_images.append(str(number))
            continue
        phrases = found.setdefault(image_id, [])
        for region in regions:
            box = None
            if isinstance(region, dict) and isinstance(region.get("phrase"), str):
                box = corners([region.get(key) for key in ("x", "y", "width", "height")])
            if box is None:
                bad.append(f"{image_id}: region {_identifier(region, 'region_id', 'id') or '?'}")
            else:
                phrases.append((" ".join(region["phrase"].split()), box))
    message = f"{path.name}: left out {len(bad_images)} images without id or regions"
    add_listed(notes, message, bad_images)
    add_listed(notes, f"{path.name}: left out {len(bad)} regions without phrase or box", bad)
    return found


def _read_sizes(path: AnyPath, notes: list[str]) -> dict[str, tuple[int, int]]:
    """Returns width and height by image id."""
    data = read_json(path, notes)
    if not isinstance(data, list):
        raise UserError(f"{path} must be a list of images; fix or remove it")
    sizes = {}
    for image in data:
        image_id = _identifier(image, "image_id", "id")
        if image_id is not None:
            width, height = image.get("width"), image.get("height")
            if isinstance(width, int) and isinstance(height, int):
                sizes[image_id] = (width, height)
    return sizes


def _identifier(entry: Any, *keys: str) -> str | None:
    """Returns the first number or text of an entry under one of the keys."""
    values = [entry.get(key) for key in keys] if isinstance(entry, dict) else []
    return next((str(value) for value in values if isinstance(value, (int, str))), None)
