"""Recognises the dataset in a folder by what is in it, for `--dataset auto`."""

from __future__ import annotations

import dataclasses
import importlib
import itertools
import sys
from typing import Any

from visem_tf.config import Config
from visem_tf.datasets import PRECOMPUTED, builder_module
from visem_tf.datasets.locations import inner_folder, named, visible
from visem_tf.errors import UserError
from visem_tf.images.find import images_below
from visem_tf.runtime.storage import AnyPath, as_path, reason_of

AUTO = "auto"

_SIGNS = {
    PRECOMPUTED: ("vgg_feats.mat", "train_ims.npy"),
    "visual_genome": ("region_descriptions.json",),
    "flickr8k": ("Flickr8k.token.txt", "Flickr_8k.trainImages.txt"),
    "flickr30k": ("dataset_flickr30k.json", "results_20130124.token", "results.csv"),
    "coco": ("train2014", "val2014", "train2017", "val2017"),
}
"""Names that only one dataset has."""
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
    try:
        if not root.is_dir():
            raise UserError(f"{root} is not a folder; correct --data-dir")
        name, sign = recognise(root)
    except OSError as error:
        raise UserError(f"cannot read {root} ({reason_of(error)}); correct --data-dir") from error
    print(
        f"visem_tf: {root} has {sign} and is read as {name}; --dataset names another",
        file=sys.stderr,
    )
    return dataclasses.replace(config, dataset=name)


def recognise(root: AnyPath) -> tuple[str, str]:
    """Returns the name of the dataset in a folder, and what it was recognised by.

    Args:
        root: The user's folder.

    Raises:
        UserError: If it is the folder of no dataset, or may be that of several.
    """
    own = {name: _builder(name) for name in _OWN}
    usual = [*itertools.chain(*_SIGNS.values(), *(each.CAPTION_FILES for each in own.values()))]
    root = inner_folder(root, usual)
    for name, signs in _SIGNS.items():
        if there := named(root, signs) or named(root / "images", signs):
            return name, there[0].name
    found = {name: path for name, each in own.items() for path in named(root, each.CAPTION_FILES)}
    if metadata := _builder("image_folder").metadata_files(root):
        found = {name: path for name, path in found.items() if path not in metadata}
        found["image_folder"] = metadata[0]
    if not found and (shards := _builder("webdataset").shards(root)):
        found = {} if any(images_below(root)) else {"webdataset": shards[0]}
    if not found:
        found = _by_ending(root, own)
    if len(found) == 1:
        [(name, path)] = found.items()
        return name, path.relative_to(root).as_posix()
    if found:
        choices = " or ".join(f"{name} ({path.name})" for name, path in found.items())
        raise UserError(f"{root} may be {choices}; choose with --dataset")
    for image in itertools.islice(images_below(root), _SIDECARS_TO_TRY):
        if (image.parent / f"{image.stem}.txt").is_file():
            return "sidecar_txt", f"{image.stem}.txt beside {image.name}"
    names = [path.name for path in visible(root)[:5]]
    raise UserError(
        f"{root} has no captions that are recognised (it has {', '.join(names) or 'nothing'}); "
        "name the data set with --dataset, and its files with --data.captions and --data.pictures"
    )


def _by_ending(root: AnyPath, own: dict[str, Any]) -> dict[str, AnyPath]:
    """Returns the files that may be captions of each dataset, judging by endings and content."""
    candidates = {name: builder.other_captions(root) for name, builder in own.items()}
    found = {name: paths[0] for name, paths in candidates.items() if len(paths) == 1}
    if {"coco_json", "karpathy_json"} <= found.keys():
        with found["coco_json"].open("rb") as file:
            is_karpathys = _KARPATHYS_FIELD in file.read(_SAMPLE_BYTES)
        del found["coco_json" if is_karpathys else "karpathy_json"]
    return found


def _builder(name: str) -> Any:
    return importlib.import_module(builder_module(name)).Builder
