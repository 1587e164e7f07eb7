"""The sentences of pictures whose features are in files without sentences."""

from __future__ import annotations

from visem_tf.config import DataConfig
from visem_tf.datasets.formats.coco import read_captions
from visem_tf.datasets.formats.karpathy import read_karpathy
from visem_tf.datasets.formats.text import read_json
from visem_tf.datasets.locations import one_of
from visem_tf.datasets.records import Record
from visem_tf.runtime.storage import AnyPath

CAPTIONS = (
    "dataset.json",
    "dataset_flickr8k.json",
    "dataset_flickr30k.json",
    "dataset_coco.json",
    "captions.json",
)


def captions_file(root: AnyPath, options: DataConfig) -> AnyPath:
    """Finds the file: Karpathy's, or COCO's format.

    Args:
        root: the user's folder.
        options: may name another.

    Raises:
        UserError: there is none, or several.
    """
    return one_of(root, CAPTIONS, what="captions", option="data.captions", given=options.captions)


def read_sentences(root: AnyPath, options: DataConfig, notes: list[str]) -> list[Record]:
    """Reads the file, whichever of the two forms it has.

    Args:
        root: the user's folder.
        options: may name another file.
        notes: receives what was wrong with it.

    Returns:
        A record for every picture, in the order of the file.

    Raises:
        UserError: the file is missing or has neither form.
    """
    path = captions_file(root, options)
    data = read_json(path, [])
    if isinstance(data, dict) and "annotations" in data:
        return read_captions(path, root, notes)
    return read_karpathy(path, root, notes)
