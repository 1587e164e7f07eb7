"""Writes cached region features with their sentences, for other programs and other machines."""

from __future__ import annotations

import json

import numpy as np

from visem_tf.datasets.caption_dataset import Split
from visem_tf.regions.dataset_cache import FeatureCache
from visem_tf.runtime.files import atomic_path, save_array, write_atomically
from visem_tf.runtime.storage import AnyPath

SCAN_SPLITS = {"train": "train", "val": "dev", "test": "test"}
SCAN_CAPTIONS = 5
"""Number of captions of an image that VSE++ and SCAN expect."""

_IMAGES_AT_A_TIME = 256
_PHRASE_FIELDS = ("sentence", "first", "last", "text", "box", "object", "type")


def write_scan(split: Split, cache: FeatureCache, folder: AnyPath) -> int:
    """Writes `{train,dev,test}_ims.npy`, `_caps.txt` and `_ids.txt`, which VSE++ and SCAN read.

    Features are float32 [I, R, F], the whole frame first; missing regions are zeros. The format has
    no boxes. It has five captions for each image: of more only the first five are written, and
    fewer are repeated in turn.

    Args:
        split: Split with the sentences.
        cache: Features of the same images.
        folder: Folder on any storage; it is created if it is missing.

    Returns:
        Number of images that do not have five sentences.
    """
    name = SCAN_SPLITS[split.name]
    shape = (len(cache), cache.num_regions, cache.feature_dim)
    with atomic_path(folder / f"{name}_ims.npy") as temporary:
        features = np.lib.format.open_memmap(temporary, "w+", np.float32, shape)
        for positions, regions in cache.batches(_IMAGES_AT_A_TIME):
            real = np.asarray(regions.region_mask)[..., np.newaxis]
            features[positions] = np.where(real, regions.region_features, 0)
        features.flush()
        del features
    lines, others = [], 0
    references = split.references()
    for image_id in split.image_ids:
        own = [" ".join(sentence.split()) for sentence in references[image_id]]
        others += len(own) != SCAN_CAPTIONS
        lines += [own[number % len(own)] for number in range(SCAN_CAPTIONS)]
    write_atomically(folder / f"{name}_caps.txt", _lines(lines))
    write_atomically(folder / f"{name}_ids.txt", _lines(split.image_ids))
    return others


def write_cache(split: Split, cache: FeatureCache, folder: AnyPath) -> None:
    """Writes features and sentences so that `--dataset precomputed` reads them.

    Args:
        split: Split with the sentences, and with phrases and boxes if there are any.
        cache: Features of the same images.
        folder: Folder on any storage, in which a folder named after the split is created.
    """
    target = folder / split.name
    for number in range(cache.num_shards):
        save_array(target / cache.path(number).name, cache.records(number))
    has_boxes = split.regions is None or split.regions.has_boxes
    key = json.dumps({**cache.key, "boxes": has_boxes}, indent=1) + "\n"
    write_atomically(target / "key.json", key)
    phrases = split.phrases_of_images()
    references = split.references()
    rows = [
        json.dumps(
            {
                "image_id": image_id,
                "file_name": split.file_names[number],
                "sentences": references[image_id],
                "phrases": [
                    {name: getattr(phrase, name) for name in _PHRASE_FIELDS}
                    for phrase in phrases[number]
                ],
            },
            ensure_ascii=False,
        )
        for number, image_id in enumerate(split.image_ids)
    ]
    write_atomically(target / "sentences.jsonl", _lines(rows))


def _lines(lines: list[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "replace")
