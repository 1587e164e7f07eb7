"""Visual Genome's region descriptions: every phrase is a sentence about its box."""

from __future__ import annotations

from typing import Any, ClassVar

import tensorflow_datasets as tfds
from etils import epath

from visem_tf.config import DataConfig
from visem_tf.datasets import schema
from visem_tf.datasets.collecting import collect
from visem_tf.datasets.folder_builder import FolderBuilder
from visem_tf.datasets.formats.coco import corners
from visem_tf.datasets.formats.text import read_json
from visem_tf.datasets.locations import pictures_in
from visem_tf.datasets.problems import Problems, listed
from visem_tf.datasets.records import Phrase, Record
from visem_tf.errors import UserError
from visem_tf.runtime.storage import AnyPath, file_names

REGIONS = "region_descriptions.json"
IMAGES = "image_data.json"
SPLITS = "densecap_splits.json"
PICTURES = ("VG_100K", "VG_100K_2", "images")


class Builder(FolderBuilder):
    """The builder; README.md beside it describes the files."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First version."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f"a folder with {PICTURES[0]}/ and {PICTURES[1]}/ (images.zip and images2.zip) and "
        f"{REGIONS} (region_descriptions.json.zip, unpacked), from "
        f"https://homes.cs.washington.edu/~ranjay/visualgenome/api.html; {IMAGES} and {SPLITS} may "
        "be there"
    )
    OPTIONS = ("splits", "val_share", "test_share", "split_seed")
    HOMEPAGE = "https://homes.cs.washington.edu/~ranjay/visualgenome"
    pkg_dir_path = epath.Path(__file__).parent

    @classmethod
    def source_files(cls, data_dir: AnyPath, options: DataConfig | None = None) -> list[AnyPath]:
        """Returns the files of texts and all pictures."""
        files = [data_dir / name for name in (REGIONS, IMAGES, SPLITS)]
        found = [path for path in files if path.is_file()]
        for folder in _folders(data_dir):
            found += pictures_in(folder)
        return found

    @classmethod
    def read_records(
        cls, data_dir: AnyPath, options: DataConfig, problems: Problems
    ) -> dict[str, list[Record]]:
        """Returns the usable pictures of each split."""
        folders = _folders(data_dir)
        if not (data_dir / REGIONS).is_file():
            raise UserError(
                f"{data_dir} has no {REGIONS}; visual_genome needs "
                f"{cls.MANUAL_DOWNLOAD_INSTRUCTIONS}"
            )
        sizes = _sizes(data_dir / IMAGES, problems.notes)
        splits = {}
        if options.splits != "random" and (data_dir / SPLITS).is_file():
            splits = _splits(data_dir / SPLITS, problems.notes)
        names = {folder: file_names(folder) for folder in folders}
        records, outside = [], []
        for image_id, regions in _regions(data_dir / REGIONS, problems.notes).items():
            if splits and image_id not in splits:
                outside.append(image_id)
                continue
            name = f"{image_id}.jpg"
            folder = next((each for each in folders if name in names[each]), folders[0])
            phrases = [
                Phrase(number, text, box, number) for number, (text, box) in enumerate(regions)
            ]
            records.append(
                Record(
                    image_id,
                    folder / name,
                    [text for text, _ in regions],
                    tuple(phrases),
                    file_name=name,
                    size=sizes.get(image_id),
                    split=splits.get(image_id),
                )
            )
        if outside:
            problems.decisions.append(
                f"{SPLITS}: pictures that are in no split: {len(outside)} ({listed(outside)})"
            )
        return collect(cls.name, records, options, problems)


def _folders(data_dir: AnyPath) -> list[AnyPath]:
    folders = [data_dir / name for name in PICTURES if (data_dir / name).is_dir()]
    if not folders:
        raise UserError(
            f"{data_dir} has no folder of pictures ({' or '.join(PICTURES)}); visual_genome needs "
            f"{Builder.MANUAL_DOWNLOAD_INSTRUCTIONS}"
        )
    return folders


def _regions(
    path: AnyPath, notes: list[str]
) -> dict[str, list[tuple[str, tuple[float, float, float, float]]]]:
    """Phrases and pixel boxes by image id; regions of another form are left out and listed.

    Both spellings are read: a region names its picture `image` or `image_id`, its own number `id`
    or `region_id`; a picture's id may stand at the picture (`id`, `image_id`) or in its regions.
    """
    data = read_json(path, notes)
    if not isinstance(data, list) or not data:
        raise UserError(f'{path} must be a list of {{"id", "regions": [...]}}; mend or replace it')
    found: dict[str, list[tuple[str, tuple[float, float, float, float]]]] = {}
    bad_images, bad = [], []
    for number, image in enumerate(data):
        regions = image.get("regions") if isinstance(image, dict) else None
        image_id = _image_id(image) if isinstance(regions, list) else None
        if image_id is None or not isinstance(regions, list):
            bad_images.append(str(number))
            continue
        phrases = found.setdefault(image_id, [])
        for region in regions:
            box = None
            if isinstance(region, dict) and isinstance(region.get("phrase"), str):
                box = corners([region.get(key) for key in ("x", "y", "width", "height")])
            if box is None:
                bad.append(f"{image_id}: {_name(region)}")
            else:
                phrases.append((" ".join(region["phrase"].split()), box))
    if bad_images:
        notes.append(
            f"{path.name}: left out {len(bad_images)} pictures without id or regions: "
            f"{listed(bad_images)}"
        )
    if bad:
        notes.append(
            f"{path.name}: left out {len(bad)} regions without phrase or box: {listed(bad)}"
        )
    return found


def _image_id(image: dict[str, Any]) -> str | None:
    for key in ("id", "image_id"):
        if isinstance(image.get(key), (int, str)):
            return str(image[key])
    for region in image["regions"]:
        for key in ("image_id", "image"):
            if isinstance(region, dict) and isinstance(region.get(key), (int, str)):
                return str(region[key])
    return None


def _name(region: Any) -> str:
    """What to call a region in a message."""
    if isinstance(region, dict):
        return f"region {region.get('region_id', region.get('id', '?'))}"
    return f"{str(region)[:20]!r}"


def _sizes(path: AnyPath, notes: list[str]) -> dict[str, tuple[int, int]]:
    """Width and height by image id."""
    if not path.is_file():
        return {}
    data = read_json(path, notes)
    if not isinstance(data, list):
        raise UserError(f"{path} must be a list of images; mend or remove it")
    sizes = {}
    for image in data:
        if isinstance(image, dict):
            identifier = image.get("image_id", image.get("id"))
            width, height = image.get("width"), image.get("height")
            if isinstance(width, int) and isinstance(height, int) and identifier is not None:
                sizes[str(identifier)] = (width, height)
    return sizes


def _splits(path: AnyPath, notes: list[str]) -> dict[str, str]:
    """The split of each image id, from {"train": [ids], "val": [ids], "test": [ids]}.

    A picture in two splits stays in test before val before train.
    """
    data = read_json(path, notes)
    if not isinstance(data, dict) or not set(schema.SPLITS) <= set(data):
        raise UserError(f"{path} must hold train, val and test; mend or remove it")
    splits: dict[str, str] = {}
    for split in ("train", "val", "test"):
        for image_id in data[split]:
            before = splits.get(str(image_id), split)
            if before != split:
                notes.append(f"{image_id} is in {before} and {split}: kept in {split}")
            splits[str(image_id)] = split
    return splits
