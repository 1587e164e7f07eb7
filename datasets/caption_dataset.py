"""A dataset that is ready to be read: texts in memory, images as a stream."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Collection, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from visem_tf.datasets.records import Phrase, Record, RegionSource
from visem_tf.runtime.storage import as_path


@dataclasses.dataclass(frozen=True, eq=False)
class Phrases:
    """P phrases of a split: parts of sentences whose boxes are known.

    Attributes:
        sentence_index: Int32 array [P], indices in the sentences of the split.
        first: Int32 array [P], index of the first token, in the tokens of `visem_tf.text.tokenize`.
        last: Int32 array [P], index of the last token, inclusive.
        boxes: Float32 array [P, 4], (ymin, xmin, ymax, xmax) relative to the image.
        object: Int32 array [P], the same number for the same object of an image.
        text: List of P strings.
        type: List of P strings, the type of what each phrase names, such as "people"; several are
            joined by slashes, and it is empty where the data give none.
    """

    sentence_index: np.ndarray
    first: np.ndarray
    last: np.ndarray
    boxes: np.ndarray
    object: np.ndarray
    text: list[str]
    type: list[str]

    def rows(self, chosen: np.ndarray) -> Phrases:
        """Returns some of the phrases, by their positions, int [N]."""
        columns: dict[str, Any] = {
            name: [value[row] for row in chosen] if isinstance(value, list) else value[chosen]
            for name, value in vars(self).items()
        }
        return Phrases(**columns)


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """The texts of a split, I images with S sentences; the images stay on the disk.

    Attributes:
        name: "train", "val" or "test".
        image_ids: List of I strings.
        file_names: List of I strings.
        sentences: List of S raw sentences, image after image.
        image_index: Int32 array [S], index of the image that each sentence belongs to.
        phrases: Phrases with boxes; None if the dataset has none.
        pictures: Function that returns the encoded images, string scalars in the order of
            `image_ids`.
        regions: Precomputed region features, which are read instead of images; None otherwise.
        picture_digest: Digest of the images and their order, wherever the files are.
    """

    name: str
    image_ids: list[str]
    file_names: list[str]
    sentences: list[str]
    image_index: np.ndarray
    phrases: Phrases | None
    pictures: Callable[[], tf.data.Dataset] = dataclasses.field(repr=False)
    regions: RegionSource | None = dataclasses.field(default=None, repr=False)
    picture_digest: str = ""

    @property
    def first_sentences(self) -> np.ndarray:
        """Int array [I], index of the first sentence of each image."""
        return np.searchsorted(self.image_index, np.arange(len(self.image_ids)))

    @property
    def sentence_ids(self) -> list[str]:
        """S strings `f"{image_id}#{k}"`, where k counts the sentences of an image from 0."""
        numbers = np.arange(len(self.image_index)) - self.first_sentences[self.image_index]
        return [
            f"{self.image_ids[image]}#{number}"
            for image, number in zip(self.image_index.tolist(), numbers.tolist(), strict=True)
        ]

    def images_at(self, positions: Collection[int]) -> Iterator[tuple[int, bytes]]:
        """Yields positions and encoded images of some `image_ids`, in the order of the split."""
        wanted = {int(position) for position in positions}
        pictures = self.pictures().take(max(wanted, default=-1) + 1)
        for position, encoded in enumerate(pictures.as_numpy_iterator()):
            if position in wanted:
                yield position, encoded

    def phrases_of_images(self) -> list[list[Phrase]]:
        """Returns the phrases of each image, with boxes relative to the image."""
        found: list[list[Phrase]] = [[] for _ in self.image_ids]
        if self.phrases is None:
            return found
        phrases = self.phrases
        images = self.image_index[phrases.sentence_index]
        numbers = phrases.sentence_index - self.first_sentences[images]
        boxes = map(tuple, phrases.boxes.tolist())
        places = np.stack([phrases.object, phrases.first, phrases.last], axis=1).tolist()
        columns = images.tolist(), numbers.tolist(), phrases.text, boxes, places, phrases.type
        for image, number, text, box, (thing, first, last), kind in zip(*columns, strict=True):
            phrase = Phrase(number, text, box, thing, first, last, in_pixels=False, type=kind)
            found[image].append(phrase)
        return found

    def references(self) -> dict[str, list[str]]:
        """Returns the sentences of each image id."""
        sentences: dict[str, list[str]] = {image_id: [] for image_id in self.image_ids}
        for index, sentence in zip(self.image_index.tolist(), self.sentences, strict=True):
            sentences[self.image_ids[index]].append(sentence)
        return sentences

    def records(self) -> list[Record]:
        """Returns the images with their sentences and phrases; their paths are only names."""
        sentences = self.references()
        columns = self.image_ids, self.file_names, self.phrases_of_images()
        return [
            Record(image_id, as_path(name), sentences[image_id], phrases, name)
            for image_id, name, phrases in zip(*columns, strict=True)
        ]


@dataclasses.dataclass(frozen=True, eq=False)
class CaptionDataset:
    """A dataset that is ready to be read.

    Attributes:
        name: Name as given to `visem_tf.datasets.loading.load_dataset`.
        fingerprint: 16 hexadecimal digits of images and texts, wherever the files are.
        splits: The splits "train", "val" and "test".
        problems: Lines that describe all problems: first the skipped images, last the decisions.
        skipped: Problems that cost an image, without the word "skipped".
    """

    name: str
    fingerprint: str
    splits: dict[str, Split]
    problems: list[str]
    skipped: list[str]


def fingerprint_of(name: str, splits: dict[str, Split]) -> str:
    """Returns 16 hexadecimal digits of the images and texts of splits.

    Args:
        name: Name of the dataset.
        splits: All its splits.
    """
    parts: list[Any] = [name]
    for split in splits.values():
        parts += [split.name, split.picture_digest, split.image_ids, split.sentences]
        parts.append(split.image_index)
        if split.phrases is not None:
            # Types came later; they change no result, and the fingerprints of runs remain valid.
            columns = {key: value for key, value in vars(split.phrases).items() if key != "type"}
            parts += [value for _, value in sorted(columns.items())]
    return text_digest(*parts)[:16]


def text_digest(*parts: Any) -> str:
    """Returns 64 hexadecimal digits of texts and numbers.

    Args:
        parts: Lists of strings, arrays of numbers, or None.

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
