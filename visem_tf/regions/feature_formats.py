"""Writes cached region features with their sentences, for other programs and other machines."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np

from visem_tf.datasets.caption_dataset import Split
from visem_tf.datasets.records import Phrase
from visem_tf.regions.dataset_cache import FeatureCache
from visem_tf.runtime.files import atomic_path, write_atomically
from visem_tf.runtime.storage import AnyPath

SCAN_SPLITS = {"train": "train", "val": "dev", "test": "test"}
SCAN_CAPTIONS = 5
"""How many captions of a picture VSE++ and SCAN count on."""

_PICTURES_AT_A_TIME = 256


def write_scan(split: Split, cache: FeatureCache, folder: AnyPath) -> int:
    """Writes `{train,dev,test}_ims.npy`, `_caps.txt` and `_ids.txt`, which VSE++ and SCAN read.

    Features are float32 [I, R, F], the whole frame first; missing regions are zeros. Boxes have no
    place in this format. The format knows five captions a picture: of more the first five are
    written, and fewer are repeated in turn.

    Args:
        split: the sentences.
        cache: the features of the same pictures.
        folder: made if it is missing.

    Returns:
        How many pictures had another number of sentences than five.
    """
    name = SCAN_SPLITS[split.name]
    shape = (len(cache), cache.num_regions, cache.feature_dim)
    with atomic_path(folder / f"{name}_ims.npy") as temporary:
        features = np.lib.format.open_memmap(temporary, "w+", np.float32, shape)
        for positions, regions in cache.batches(_PICTURES_AT_A_TIME):
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
    """Writes features and sentences as `--dataset precomputed` reads them again.

    Args:
        split: the sentences, and phrases with boxes where there are any.
        cache: the features of the same pictures.
        folder: gets a folder named after the split.
    """
    target = folder / split.name
    for number in range(cache.num_shards):
        content = io.BytesIO()
        np.save(content, cache.records(number), allow_pickle=False)
        name = f"regions-{number:05d}-of-{cache.num_shards:05d}.npy"
        write_atomically(target / name, content.getbuffer())
    has_boxes = split.regions is None or split.regions.has_boxes
    key = json.dumps({**cache.key, "boxes": has_boxes}, indent=1) + "\n"
    write_atomically(target / "key.json", key)
    phrases = split.phrases_of_pictures()
    references = split.references()
    rows = [
        json.dumps(
            {
                "image_id": image_id,
                "file_name": split.file_names[number],
                "sentences": references[image_id],
                "phrases": [_as_json(phrase) for phrase in phrases[number]],
            },
            ensure_ascii=False,
        )
        for number, image_id in enumerate(split.image_ids)
    ]
    write_atomically(target / "sentences.jsonl", _lines(rows))


def _as_json(phrase: Phrase) -> dict[str, Any]:
    names = ("sentence", "first", "last", "text", "box", "object")
    return {name: getattr(phrase, name) for name in names}


def _lines(lines: list[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "replace")
