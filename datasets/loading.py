"""Reads a data set: texts into memory, pictures as a stream. Prepares it first where needed."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from tqdm import tqdm

from visem_tf.config import Config, DataConfig
from visem_tf.datasets import PRECOMPUTED, builder_module, schema
from visem_tf.datasets.caption_dataset import CaptionDataset, Phrases, Split, fingerprint_of
from visem_tf.datasets.precomputed.loading import load_precomputed
from visem_tf.datasets.preparing import prepare, quiet
from visem_tf.datasets.problems import Problems
from visem_tf.errors import UserError
from visem_tf.runtime.files import write_atomically

DIGESTS = "content.json"
_TEXTS = ("image_id", "file_name", "sentences", "phrases")
_EXAMPLES_AT_A_TIME = 512
_PICTURES_AT_A_TIME = 64


def load_dataset(
    name: str,
    *,
    cache_dir: str | os.PathLike[str],
    data_dir: str | os.PathLike[str] | None = None,
    config: str | None = None,
    options: DataConfig | None = None,
    strict: bool = False,
) -> CaptionDataset:
    """Reads a data set, which is prepared first if it was not yet.

    Args:
        name: a data set of `visem_tf.datasets.available`.
        cache_dir: where prepared files are kept; made if missing.
        data_dir: the user's folder, for data sets that are read from one.
        config: which variant of the data set; by default its first.
        options: how the user's files are read, where they leave that open.
        strict: whether skipped pictures are an error.

    Returns:
        The data set, in the same order every time.

    Raises:
        UserError: an unknown name or configuration, a missing or unusable folder or file, an empty
            split, a cache that cannot be written or is damaged, or with `strict` a skipped picture.
    """
    if name == PRECOMPUTED:
        return load_precomputed(data_dir, config, options or DataConfig(), strict=strict)
    builder_class = importlib.import_module(builder_module(name)).Builder
    prepared = prepare(
        builder_class, cache_dir=cache_dir, data_dir=data_dir, config=config, options=options
    )
    builder = prepared.builder
    try:
        splits = {split: _read_split(builder, split) for split in schema.SPLITS}
        splits = _with_digests(name, splits, prepared.folder)
        problems = Problems.load(builder.data_dir)
    except (OSError, ValueError, TypeError, KeyError, tf.errors.OpError) as error:
        raise UserError(
            f"the prepared files of {name} are damaged; delete {prepared.folder} and start again"
        ) from error
    if strict and problems.skipped:
        raise UserError(
            f"{name}: {len(problems.skipped)} pictures cannot be used, the first is "
            f"{problems.skipped[0]}; mend them or leave --strict out"
        )
    return CaptionDataset(
        name=name,
        fingerprint=fingerprint_of(name, splits),
        splits=splits,
        problems=[
            *(f"skipped {line}" for line in problems.skipped),
            *problems.notes,
            *problems.decisions,
        ],
        skipped=problems.skipped,
    )


def load_configured(config: Config) -> CaptionDataset:
    """Reads the data set that a configuration names; see `load_dataset`."""
    name, _, variant = config.dataset.partition("/")
    return load_dataset(
        name,
        cache_dir=config.cache_dir,
        data_dir=config.data_dir or None,
        config=variant or None,
        options=config.data,
        strict=config.strict,
    )


def _with_digests(name: str, splits: dict[str, Split], folder: Path) -> dict[str, Split]:
    """Splits that know the digests of their pictures, which are read for it the first time."""
    digests = read_digests(folder) or {}
    if digests.keys() != splits.keys():
        digests = {
            split.name: picture_digest(
                split.pictures(), len(split.image_ids), f"reading {name} {split.name}"
            )
            for split in splits.values()
        }
        keep_digests(folder, digests)
    return {
        key: dataclasses.replace(split, picture_digest=digests[key])
        for key, split in splits.items()
    }


def _read_split(builder: Any, name: str) -> Split:
    """Reads the texts of a split, without its pictures."""
    parts = [
        _flat_texts(batch)
        for batch in _read(builder, name, dict.fromkeys(_TEXTS, True)).ragged_batch(
            _EXAMPLES_AT_A_TIME
        )
    ]
    columns = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    image_ids = _strings(columns["image_id"])
    sentence_counts = columns["sentence_count"]
    image_index = np.repeat(np.arange(len(image_ids), dtype=np.int32), sentence_counts)
    starts = np.cumsum(sentence_counts) - sentence_counts
    numbers = np.arange(len(image_index)) - np.repeat(starts, sentence_counts)
    phrases = None
    if len(columns["sentence"]):
        first_sentence = np.repeat(starts, columns["phrase_count"])
        phrases = Phrases(
            sentence_index=(columns["sentence"] + first_sentence).astype(np.int32),
            first=columns["first"],
            last=columns["last"],
            boxes=columns["bbox"],
            object=columns["object"],
            text=_strings(columns["text"]),
        )

    def open_pictures() -> tf.data.Dataset:
        encoded = {"image": tfds.decode.SkipDecoding()}
        pictures = _read(builder, name, {"image": True}, encoded).map(lambda x: x["image"])
        return pictures.apply(tf.data.experimental.assert_cardinality(len(image_ids)))

    return Split(
        name=name,
        image_ids=image_ids,
        file_names=_strings(columns["file_name"]),
        sentences=_strings(columns["sentences"]),
        sentence_ids=[
            f"{image_ids[image]}#{number}"
            for image, number in zip(image_index.tolist(), numbers.tolist(), strict=True)
        ],
        image_index=image_index,
        phrases=phrases,
        _open=open_pictures,
    )


def _read(
    builder: Any, split: str, wanted: dict[str, bool], decoders: dict[str, Any] | None = None
) -> tf.data.Dataset:
    """Returns some features of a split, always in the order they were written in."""
    with quiet():
        return builder.as_dataset(
            split=split,
            shuffle_files=False,
            decoders=tfds.decode.PartialDecoding(wanted, decoders=decoders),
            read_config=tfds.ReadConfig(
                try_autocache=False, interleave_cycle_length=1, interleave_block_length=1
            ),
        )


def _flat_texts(batch: dict[str, Any]) -> dict[str, np.ndarray]:
    """Returns flat columns of a batch of examples, with how many sentences and phrases each has."""
    phrases = batch["phrases"]
    columns = {key: batch[key].numpy() for key in ("image_id", "file_name")}
    columns["sentences"] = batch["sentences"].flat_values.numpy()
    columns["sentence_count"] = batch["sentences"].row_lengths().numpy()
    columns["phrase_count"] = phrases["first"].row_lengths().numpy()
    for key in ("sentence", "first", "last", "object", "text", "bbox"):
        columns[key] = phrases[key].flat_values.numpy()
    columns["bbox"] = columns["bbox"].reshape(-1, 4)
    return columns


def _strings(values: np.ndarray) -> list[str]:
    return [value.decode("utf-8") for value in values]


def picture_digest(pictures: tf.data.Dataset, count: int, description: str) -> str:
    """Returns 64 hexadecimal digits of encoded pictures in their order.

    Args:
        pictures: string scalars.
        count: how many there are.
        description: stands beside the progress bar.

    Example:
        >>> one = picture_digest(tf.data.Dataset.from_tensor_slices(["ab", "c"]), 2, "pictures")
        >>> other = picture_digest(tf.data.Dataset.from_tensor_slices(["a", "bc"]), 2, "pictures")
        >>> len(one), one == other
        (64, False)
    """
    digest = hashlib.sha256()
    with tqdm(total=count, desc=description, unit=" pictures", leave=False, disable=None) as bar:
        for batch in pictures.batch(_PICTURES_AT_A_TIME).prefetch(1).as_numpy_iterator():
            for encoded in batch:
                digest.update(hashlib.sha256(encoded).digest())
            bar.update(len(batch))
    return digest.hexdigest()


def read_digests(folder: Path) -> dict[str, str] | None:
    """Returns the digests that were kept with prepared files, or None if there are none yet."""
    try:
        found = json.loads((folder / DIGESTS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def keep_digests(folder: Path, digests: dict[str, str]) -> None:
    """Keeps digests, by the names of splits, with prepared files."""
    write_atomically(folder / DIGESTS, json.dumps(digests, indent=1) + "\n")
