"""Reads a data set: texts into memory, pictures as a stream. Prepares it first where needed."""

from __future__ import annotations

import dataclasses
import importlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from visem_tf.config import Config, DataConfig
from visem_tf.datasets import PRECOMPUTED, builder_module, schema
from visem_tf.datasets.content import keep_digests, picture_digest, read_digests, text_digest
from visem_tf.datasets.preparing import prepare, quiet
from visem_tf.datasets.problems import Problems
from visem_tf.datasets.records import Phrase
from visem_tf.datasets.region_source import RegionSource
from visem_tf.errors import UserError

_TEXTS = ("image_id", "file_name", "sentences", "phrases")
_PICTURES_AT_A_TIME = 512


@dataclasses.dataclass(frozen=True, eq=False)
class Phrases:
    """P phrases of a split, parts of sentences whose box is known.

    Attributes:
        sentence_index: int32 [P], index in the sentences of the split.
        first: int32 [P], first token, in the tokens of `visem_tf.text.tokenize`.
        last: int32 [P], last token, inclusive.
        boxes: float32 [P, 4], (ymin, xmin, ymax, xmax) relative to the picture.
        object: int32 [P], the same number for the same object of a picture.
        text: P strings.
    """

    sentence_index: np.ndarray
    first: np.ndarray
    last: np.ndarray
    boxes: np.ndarray
    object: np.ndarray
    text: list[str]


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """The texts of a split, I pictures with S sentences; the pictures stay on the disk.

    Attributes:
        name: "train", "val" or "test".
        image_ids: I strings.
        file_names: I strings.
        sentences: S raw sentences, picture after picture.
        sentence_ids: S strings, `f"{image_id}#{k}"`.
        image_index: int32 [S], which picture a sentence belongs to.
        phrases: None where the data set has none.
        regions: what regions are read from instead of pictures, for precomputed features.
        picture_digest: identifies the pictures and their order, wherever they lie.
    """

    name: str
    image_ids: list[str]
    file_names: list[str]
    sentences: list[str]
    sentence_ids: list[str]
    image_index: np.ndarray
    phrases: Phrases | None
    _open: Callable[[], tf.data.Dataset] = dataclasses.field(repr=False)
    regions: RegionSource | None = dataclasses.field(default=None, repr=False)
    picture_digest: str = ""

    def pictures(self) -> tf.data.Dataset:
        """Returns the encoded pictures, string scalars in the order of `image_ids`."""
        return self._open()

    def phrases_of_pictures(self) -> list[list[Phrase]]:
        """Returns the phrases of each picture, boxes in shares of it; none where none are known."""
        found: list[list[Phrase]] = [[] for _ in self.image_ids]
        if self.phrases is None:
            return found
        starts = np.searchsorted(self.image_index, np.arange(len(self.image_ids)))
        for row, sentence in enumerate(self.phrases.sentence_index.tolist()):
            image = int(self.image_index[sentence])
            ymin, xmin, ymax, xmax = self.phrases.boxes[row].tolist()
            found[image].append(
                Phrase(
                    sentence=sentence - int(starts[image]),
                    text=self.phrases.text[row],
                    box=(ymin, xmin, ymax, xmax),
                    object=int(self.phrases.object[row]),
                    first=int(self.phrases.first[row]),
                    last=int(self.phrases.last[row]),
                    in_pixels=False,
                )
            )
        return found

    def references(self) -> dict[str, list[str]]:
        """Returns the sentences of each image id."""
        sentences: dict[str, list[str]] = {image_id: [] for image_id in self.image_ids}
        for index, sentence in zip(self.image_index.tolist(), self.sentences, strict=True):
            sentences[self.image_ids[index]].append(sentence)
        return sentences


@dataclasses.dataclass(frozen=True, eq=False)
class CaptionDataset:
    """A data set, ready to be read.

    Attributes:
        name: as given to `load_dataset`.
        fingerprint: 16 hexadecimal digits of pictures and texts, wherever they lie.
        splits: "train", "val" and "test".
        problems: what was found wrong, the skipped pictures first, and last what was decided.
        skipped: those of `problems` that cost a picture.
    """

    name: str
    fingerprint: str
    splits: dict[str, Split]
    problems: list[str]
    skipped: list[str]


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
        from visem_tf.datasets.precomputed.loading import load_precomputed

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


def fingerprint_of(name: str, splits: dict[str, Split]) -> str:
    """Returns 16 hexadecimal digits of the pictures and texts of splits."""
    parts: list[Any] = [name]
    for split in splits.values():
        parts += [split.name, split.picture_digest, split.image_ids, split.sentences]
        parts.append(split.image_index)
        if split.phrases is not None:
            phrases = dataclasses.asdict(split.phrases)
            parts += [phrases[field] for field in sorted(phrases)]
    return text_digest(*parts)[:16]


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
            _PICTURES_AT_A_TIME
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
