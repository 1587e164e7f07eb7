"""The captions of images whose features are in files without captions."""

from visem_tf.config import DataConfig
from visem_tf.datasets.formats.coco import read_captions
from visem_tf.datasets.formats.karpathy import read_karpathy
from visem_tf.datasets.formats.text import read_json
from visem_tf.datasets.locations import find_one
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
    """Finds the caption file, in Karpathy's or COCO's format.

    Args:
        root: Folder of the features.
        options: Options of the dataset; `captions` may name another file.

    Raises:
        UserError: If there is no such file, or several.
    """
    return find_one(root, options, "captions", "captions", CAPTIONS)


def read_sentences(root: AnyPath, options: DataConfig, notes: list[str]) -> list[Record]:
    """Reads the caption file.

    Args:
        root: Folder of the features.
        options: Options of the dataset; `captions` may name another file.
        notes: List that receives the problems of the file.

    Returns:
        A record for every image, in the order of the file.

    Raises:
        UserError: The file is missing or has another format.
    """
    path = captions_file(root, options)
    data = read_json(path, [])
    if isinstance(data, dict) and "annotations" in data:
        return read_captions(path, root, notes)
    return read_karpathy(path, root, notes)
