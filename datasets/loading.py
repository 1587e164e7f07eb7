"""Loads a dataset: texts into memory, images as a stream. Prepares it first where needed."""

import dataclasses
import hashlib
import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from visem_tf.config import Config, DataConfig
from visem_tf.datasets import PRECOMPUTED, builder_class, schema
from visem_tf.datasets.caption_dataset import CaptionDataset, Phrases, Split, fingerprint_of
from visem_tf.datasets.folder_builder import show_progress
from visem_tf.datasets.precomputed.loading import load_precomputed
from visem_tf.datasets.preparing import prepare, quiet
from visem_tf.datasets.problems import Problems
from visem_tf.errors import UserError
from visem_tf.runtime.json_files import parse_json, write_json

_DIGESTS_FILE = "content.json"
_TEXTS = ("image_id", "file_name", "sentences", "phrases")
_OF_PHRASES = ("sentence", "first", "last", "object", "text", "type", "bbox")
_EXAMPLES_AT_A_TIME = 512


def load_dataset(
    name: str,
    *,
    cache_dir: str | os.PathLike[str],
    data_dir: str | os.PathLike[str] | None = None,
    config: str | None = None,
    options: DataConfig | None = None,
    strict: bool = False,
) -> CaptionDataset:
    """Loads a dataset; the first time, prepares it.

    Args:
        name: Name of a dataset of `visem_tf.datasets.available`, or "precomputed".
        cache_dir: Folder for prepared files; created if missing.
        data_dir: The user's folder, for datasets that are read from one.
        config: Name of the variant of the dataset; by default its first.
        options: Options for reading the user's files.
        strict: Whether skipped images are an error.

    Returns:
        The dataset, in the same order every time.

    Raises:
        UserError: If a name is unknown, a folder or file is missing or unusable, a split is empty,
            the cache is damaged or cannot be written, or with `strict` an image was skipped.
    """
    return load_configured(
        Config(
            dataset=name if config is None else f"{name}/{config}",
            cache_dir=str(cache_dir),
            data_dir="" if data_dir is None else str(data_dir),
            data=DataConfig() if options is None else options,
            strict=strict,
        )
    )


def load_configured(config: Config) -> CaptionDataset:
    """Loads the dataset that a configuration names; see `load_dataset`."""
    name = config.dataset_name
    if name == PRECOMPUTED:
        return load_precomputed(config)
    builder, folder = prepare(builder_class(name), config)
    try:
        splits = _with_digests(builder, _read_splits(builder), folder)
        problems = Problems.load(builder.data_dir)
    except (OSError, ValueError, TypeError, KeyError, tf.errors.OpError) as error:
        raise UserError(
            f"the prepared files of {name} are damaged; delete {folder} and start again"
        ) from error
    if config.strict:
        problems.require_no_skipped(name)
    fingerprint = fingerprint_of(name, splits)
    return CaptionDataset(name, fingerprint, splits, problems.lines(), problems.skipped)


def _read_splits(builder: Any) -> dict[str, Split]:
    """Reads the texts of all splits, without their images.

    All splits are read as one, because TensorFlow needs a second to trace how examples are read.
    """
    examples = _read(builder, schema.SPLITS, dict.fromkeys(_TEXTS, True))
    parts = [_flat_texts(batch) for batch in examples.ragged_batch(_EXAMPLES_AT_A_TIME)]
    columns = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    sizes = [builder.info.splits[name].num_examples for name in schema.SPLITS]
    return {
        name: _make_split(builder, name, part)
        for name, part in zip(schema.SPLITS, _cut(columns, sizes), strict=True)
    }


def _make_split(builder: Any, name: str, columns: dict[str, np.ndarray]) -> Split:
    """Makes a split of the flat columns of its texts."""
    image_ids = _strings(columns["image_id"])
    counts = columns["sentence_count"]
    phrases = None
    if len(columns["sentence"]):
        first_sentence = np.repeat(np.cumsum(counts) - counts, columns["phrase_count"])
        phrases = Phrases(
            sentence_index=(columns["sentence"] + first_sentence).astype(np.int32),
            first=columns["first"],
            last=columns["last"],
            boxes=columns["bbox"],
            object=columns["object"],
            text=_strings(columns["text"]),
            type=_strings(columns["type"]),
        )

    def open_images() -> tf.data.Dataset:
        pictures = _read_images(builder, [name])
        return pictures.apply(tf.data.experimental.assert_cardinality(len(image_ids)))

    return Split(
        name=name,
        image_ids=image_ids,
        file_names=_strings(columns["file_name"]),
        sentences=_strings(columns["sentences"]),
        image_index=np.repeat(np.arange(len(image_ids), dtype=np.int32), counts),
        phrases=phrases,
        pictures=open_images,
    )


def _read_images(builder: Any, splits: Sequence[str]) -> tf.data.Dataset:
    """Returns the encoded images of splits, one split after the other."""
    encoded = {"image": tfds.decode.SkipDecoding()}
    return _read(builder, splits, {"image": True}, encoded).map(lambda example: example["image"])


def _read(
    builder: Any,
    splits: Sequence[str],
    wanted: dict[str, bool],
    decoders: dict[str, Any] | None = None,
) -> tf.data.Dataset:
    """Returns some features of splits, always in the order in which they were written."""
    with quiet():
        return builder.as_dataset(
            split="+".join(splits),
            shuffle_files=False,
            decoders=tfds.decode.PartialDecoding(wanted, decoders=decoders),
            read_config=tfds.ReadConfig(
                try_autocache=False, interleave_cycle_length=1, interleave_block_length=1
            ),
        )


def _flat_texts(batch: dict[str, Any]) -> dict[str, np.ndarray]:
    """Returns flat columns of a batch of examples, and their numbers of sentences and phrases."""
    phrases = batch["phrases"]
    columns = {key: batch[key].numpy() for key in ("image_id", "file_name")}
    columns["sentences"] = batch["sentences"].flat_values.numpy()
    columns["sentence_count"] = batch["sentences"].row_lengths().numpy()
    columns["phrase_count"] = phrases["first"].row_lengths().numpy()
    for key in _OF_PHRASES:
        columns[key] = phrases[key].flat_values.numpy()
    columns["bbox"] = columns["bbox"].reshape(-1, 4)
    return columns


def _cut(columns: dict[str, np.ndarray], sizes: Sequence[int]) -> Iterator[dict[str, np.ndarray]]:
    """Cuts flat columns of all examples into those of splits with these numbers of examples."""
    rows = np.cumsum([0, *sizes])
    sentence_rows, phrase_rows = (
        np.cumsum(np.append(0, columns[key]))[rows] for key in ("sentence_count", "phrase_count")
    )
    starts = {"sentences": sentence_rows, **dict.fromkeys(_OF_PHRASES, phrase_rows)}
    for split in range(len(sizes)):
        yield {
            key: values[slice(*starts.get(key, rows)[split : split + 2])]
            for key, values in columns.items()
        }


def _strings(values: np.ndarray) -> list[str]:
    return [value.decode("utf-8") for value in values]


def _with_digests(builder: Any, splits: dict[str, Split], folder: Path) -> dict[str, Split]:
    """Sets the digests of the images of splits; reads all images the first time.

    Region features and models that are derived from a dataset are named after its content and not
    after its files, so that they remain valid after a copy, or a backup that was restored.
    """
    path = folder / _DIGESTS_FILE
    digests = parse_json(path.read_bytes(), dict[str, str]) if path.is_file() else {}
    if digests.keys() != splits.keys():
        digests = _image_digests(builder, splits)
        write_json(path, digests)
    return {
        split.name: dataclasses.replace(split, picture_digest=digests[split.name])
        for split in splits.values()
    }


def _image_digests(builder: Any, splits: dict[str, Split]) -> dict[str, str]:
    """Returns 64 hexadecimal digits of the encoded images of each split in their order."""
    count = sum(len(split.image_ids) for split in splits.values())
    images = _read_images(builder, list(splits)).as_numpy_iterator()
    images = show_progress(images, count, f"reading {builder.name}")
    digests = {}
    for split in splits.values():
        digest = hashlib.sha256()
        for encoded in itertools.islice(images, len(split.image_ids)):
            digest.update(hashlib.sha256(encoded).digest())
        digests[split.name] = digest.hexdigest()
    return digests
