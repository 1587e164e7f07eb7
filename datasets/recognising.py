"""Recognises the dataset in a folder by what is in it, for `--dataset auto`."""

import dataclasses
import itertools
from typing import Any

from visem_tf.config import Config, DataConfig
from visem_tf.datasets import PRECOMPUTED, builder_class
from visem_tf.datasets.coco import coco_dataset_builder as coco
from visem_tf.datasets.locations import below, inner_folder, named, path_of, visible
from visem_tf.datasets.precomputed import bottom_up
from visem_tf.datasets.precomputed.loading import SIGNS
from visem_tf.datasets.problems import listed
from visem_tf.errors import UserError
from visem_tf.images.find import images_below
from visem_tf.runtime.storage import AnyPath, as_path, reading
from visem_tf.runtime.streams import tell

AUTO = "auto"

_SIGNS = {
    PRECOMPUTED: SIGNS,
    "visual_genome": ("region_descriptions.json",),
    "flickr8k": ("Flickr8k.token.txt", "Flickr_8k.trainImages.txt"),
    "flickr30k": ("dataset_flickr30k.json", "results_20130124.token", "results.csv"),
    "coco": (*coco.FOLDERS, *(f"annotations/captions_{folder}.json" for folder in coco.FOLDERS)),
}
"""Names that only one dataset has."""
_WITH_CAPTIONS = ("flickr30k",)
"""Those of them for which `--data.captions` chooses among several files."""
_OWN = ("coco_json", "karpathy_json", "json_lines", "captions_txt")
_KARPATHYS_FIELD = b'"filename"'
_SAMPLE_BYTES = 1 << 16
_SIDECARS_TO_TRY = 100


def recognised(config: Config) -> Config:
    """Returns a configuration whose dataset has a name; prints what `auto` stands for.

    Args:
        config: Configuration, whose dataset may be "auto".

    Raises:
        UserError: If there is no folder, or it is that of no dataset, or of several.
    """
    if config.dataset != AUTO:
        return config
    if not config.data_dir:
        raise UserError("--dataset auto needs a folder; give it with --data-dir")
    root = as_path(config.data_dir)
    with reading(root, "correct --data-dir"):
        if not root.is_dir():
            raise UserError(f"{root} is not a folder; correct --data-dir")
        name, sign = recognise(root, config.data)
    tell(f"{root} has {sign} and is read as {name}; --dataset names another")
    return dataclasses.replace(config, dataset=name)


def recognise(root: AnyPath, options: DataConfig | None = None) -> tuple[str, str]:
    """Returns the name of the dataset in a folder, and what it was recognised by.

    Args:
        root: The user's folder.
        options: `captions` or `features` may name a file, which then decides.

    Raises:
        UserError: If it is the folder of no dataset, or may be that of several.
    """
    options = options or DataConfig()
    own = {name: builder_class(name) for name in _OWN}
    parts = ((*each.CAPTION_FILES, *each.IMAGE_FOLDERS) for each in own.values())
    root = inner_folder(root, [*itertools.chain(*_SIGNS.values(), *parts)])
    if options.features:
        return PRECOMPUTED, options.features
    for name, signs in _SIGNS.items():
        inner = path_of(root, "images") if name == "coco" else root
        if there := named(root, signs) or named(inner, signs):
            if options.captions and name not in (PRECOMPUTED, *_WITH_CAPTIONS):
                break
            return name, there[0].name
    features = [path for path in visible(root) if bottom_up.is_features(path)]
    if features:
        return PRECOMPUTED, features[0].name
    if options.captions:
        return _format_of(below(root, options.captions)), options.captions
    found = {name: path for name, each in own.items() for path in named(root, each.CAPTION_FILES)}
    if metadata := builder_class("image_folder").metadata_files(root):
        found = {name: path for name, path in found.items() if path not in metadata}
        found["image_folder"] = metadata[0]
    if not found and (shards := builder_class("webdataset").shards(root)):
        found = {} if any(images_below(root)) else {"webdataset": shards[0]}
    candidates = _other_captions(root, own)
    if not found and len(candidates) == 1:
        found = {_format_of(candidates[0]): candidates[0]}
    if len(found) == 1:
        [(name, path)] = found.items()
        return name, path.relative_to(root).as_posix()
    if found:
        choices = " or ".join(f"{name} ({path.name})" for name, path in found.items())
        raise UserError(f"{root} may be {choices}; choose with --dataset")
    for image in itertools.islice(images_below(root), _SIDECARS_TO_TRY):
        if (image.parent / f"{image.stem}.txt").is_file():
            return "sidecar_txt", f"{image.stem}.txt beside {image.name}"
    if candidates:
        raise UserError(
            f"the captions of {root} may be in {listed([path.name for path in candidates])}; "
            "choose a file with --data.captions"
        )
    names = [path.name for path in visible(root)[:5]]
    raise UserError(
        f"{root} has no captions that are recognised (it has {', '.join(names) or 'nothing'}); "
        "name the data set with --dataset, and its files with --data.captions and --data.pictures"
    )


def _other_captions(root: AnyPath, own: dict[str, Any]) -> list[AnyPath]:
    """Returns the files without a usual name that may be captions of any dataset."""
    usual = {name.casefold() for each in own.values() for name in each.MORE_FILES}
    found = [path for each in own.values() for path in each.other_captions(root)]
    return [path for path in dict.fromkeys(found) if path.name.casefold() not in usual]


def _format_of(captions: AnyPath) -> str:
    """Returns the dataset that has such a file of captions, by its ending and content."""
    suffix = captions.suffix.lower()
    if suffix == ".jsonl":
        return "json_lines"
    if suffix != ".json":
        return "captions_txt"
    if not captions.is_file():
        return "coco_json"  # whose builder names what is missing
    with captions.open("rb") as file:
        return "karpathy_json" if _KARPATHYS_FIELD in file.read(_SAMPLE_BYTES) else "coco_json"
