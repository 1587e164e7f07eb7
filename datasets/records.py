"""The records that readers of files return: images with their sentences, or their regions."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from visem_tf import text
from visem_tf.images.read import read_file
from visem_tf.runtime.storage import AnyPath, FilePart

Box = tuple[float, float, float, float]
"""(ymin, xmin, ymax, xmax)."""


def as_text(text: str) -> str:
    r"""Returns a text that can be encoded: halves of surrogate pairs become question marks.

    Example:
        >>> as_text("a \ud83d dog")
        'a ? dog'
    """
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


@dataclasses.dataclass(frozen=True)
class Phrase:
    """A part of a sentence whose box is known.

    Attributes:
        sentence: Index of the sentence among the sentences of its image.
        text: Words of the phrase, as written in the sentence.
        box: (ymin, xmin, ymax, xmax).
        object: Number of the object in the image; phrases about one object share it.
        first: Index of the first token, in the tokens of `visem_tf.text.tokenize`; -1 if it is not
            known.
        last: Index of the last token, inclusive; -1 if the position still has to be found, which
            `first` then helps with.
        in_pixels: Whether the box is in pixels; otherwise it is relative to height and width.
        anywhere: Whether several sentences were searched for the words, so that this sentence need
            not contain them.
        type: Type of what it names, such as "people"; several are joined by slashes; empty if the
            data give none.
    """

    sentence: int
    text: str
    box: Box
    object: int
    first: int = -1
    last: int = -1
    in_pixels: bool = True
    anywhere: bool = False
    type: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", as_text(self.text))


@dataclasses.dataclass(frozen=True)
class Record:
    """One image that has not been opened yet, with its sentences.

    Attributes:
        image_id: Identifier that is unique in the dataset; "#" in it becomes "%23", because "#"
            starts the number of a sentence in sentence ids.
        path: Path of the image file.
        sentences: Sentences of the image, in order.
        phrases: Parts of the sentences with boxes.
        file_name: Path of the image below the folder of images, unique; by default its name.
        size: Width and height that boxes in pixels refer to; None takes those of the image.
        split: Name of the split in the spelling of the data; None if the data name none.
        may_be_squashed: Whether a square image may be the whole of one of another aspect ratio, so
            that its boxes are relative to `size` all the same.
        sentence_ids: Ids of the sentences in a file of COCO's format; empty in other formats.
        part: Part of the file `path`, an archive, that is the image; None if the file is the image.
    """

    image_id: str
    path: AnyPath
    sentences: Sequence[str]
    phrases: Sequence[Phrase] = ()
    file_name: str = ""
    size: tuple[int, int] | None = None
    split: str | None = None
    may_be_squashed: bool = False
    sentence_ids: Sequence[str] = ()
    part: FilePart | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "image_id", as_text(safe_image_id(self.image_id)))
        object.__setattr__(self, "file_name", as_text(self.file_name or self.path.name))
        object.__setattr__(self, "sentences", [as_text(text) for text in self.sentences])

    @property
    def label(self) -> str:
        """Name of the image's file in messages: that on the disk, or that in an archive."""
        return self.path.name if self.part is None else self.file_name

    def read(self) -> bytes:
        """Returns the bytes of the image's file.

        Raises:
            ImageError: The file cannot be read, or is too large.
        """
        return read_file(self.path, self.label, self.part)


class RegionBlock(NamedTuple):
    """Region features of B images.

    Attributes:
        features: Float array [B, R, F]; region 0 represents the whole image.
        boxes: Float32 array [B, R, 4], (ymin, xmin, ymax, xmax) relative to the image; the whole
            image where boxes are not known.
        mask: Boolean array [B, R], False where an image has fewer than R regions.
    """

    features: np.ndarray
    boxes: np.ndarray
    mask: np.ndarray


class RegionSource(Protocol):
    """Region features of all images of a split, in the order of the split."""

    @property
    def has_boxes(self) -> bool:
        """Whether the boxes of the regions are known."""

    def blocks(self, start: int) -> Iterator[RegionBlock]:
        """Yields the regions of the images from position `start` on, several images at a time."""


def with_frame(features: np.ndarray, boxes: np.ndarray | None, mask: np.ndarray) -> RegionBlock:
    """Puts a region for the whole image first: the mean of the image's regions.

    Args:
        features: Float array [B, R, F].
        boxes: Float array [B, R, 4], or None if the boxes are not known.
        mask: Boolean array [B, R], True for real regions; an image without any has a mean of zeros.

    Returns:
        Block of R + 1 regions an image.

    Example:
        >>> block = with_frame(np.array([[[1.0], [3.0], [0.0]]]), None,
        ...     np.array([[True, True, False]]))
        >>> block.features[0, :, 0].tolist(), block.mask[0].tolist()
        ([2.0, 1.0, 3.0, 0.0], [True, True, True, False])
    """
    features = np.where(mask[..., np.newaxis], features, 0).astype(np.float32)
    count = np.maximum(mask.sum(axis=1), 1)[:, np.newaxis]
    mean = features.sum(axis=1) / count
    frame = np.broadcast_to(np.array([0, 0, 1, 1], np.float32), (len(features), 1, 4))
    if boxes is None:
        boxes = np.broadcast_to(frame, (*mask.shape, 4))
    return RegionBlock(
        np.concatenate([mean[:, np.newaxis], features], axis=1),
        np.concatenate([frame, boxes.astype(np.float32)], axis=1),
        np.pad(mask, [(0, 0), (1, 0)], constant_values=True),
    )


def safe_image_id(name: str) -> str:
    """Returns a name as an image id, which must not contain the sign that starts a sentence number.

    Example:
        >>> safe_image_id("image#1.jpg")
        'image%231.jpg'
    """
    return name.replace("#", "%23")


def tokenized(sentences: Sequence[str]) -> list[list[bytes]]:
    """Returns the tokens of each sentence, as `visem_tf.text.tokenize` makes them.

    Example:
        >>> tokenized(["A dog ."])
        [[b'a', b'dog']]
    """
    return [tokens for batch in text.tokenize_all(sentences) for tokens in batch.to_list()]


def tokens_of_records(records: Sequence[Record]) -> Iterator[list[list[bytes]]]:
    """Yields the tokens of the sentences of each record; all sentences are tokenized at once."""
    tokens = iter(tokenized([sentence for record in records for sentence in record.sentences]))
    for record in records:
        yield [next(tokens) for _ in record.sentences]
