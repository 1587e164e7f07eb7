"""A data set that is ready to be read: texts in memory, pictures as a stream."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Collection, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from visem_tf.datasets.records import Phrase, RegionSource


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

    def pictures_at(self, positions: Collection[int]) -> Iterator[tuple[int, bytes]]:
        """Yields positions and encoded pictures of some `image_ids`, in the order of the split."""
        wanted = {int(position) for position in positions}
        pictures = self.pictures().take(max(wanted, default=-1) + 1)
        for position, encoded in enumerate(pictures.as_numpy_iterator()):
            if position in wanted:
                yield position, encoded

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


def text_digest(*parts: Any) -> str:
    """Returns 64 hexadecimal digits of texts and numbers.

    Args:
        parts: lists of strings, arrays of numbers, or None.

    Example:
        >>> text_digest(["a dog"], None) == text_digest(["a dog"], np.zeros(1))
        False
    """
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(f"{part.dtype.str} {part.shape} ".encode())
            digest.update(np.ascontiguousarray(part).data)
        else:
            digest.update(json.dumps(part).encode())
        digest.update(b"\n")
    return digest.hexdigest()
