"""What readers of files hand on: pictures with their sentences, or the regions of pictures."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from visem_tf import text
from visem_tf.runtime.storage import AnyPath


@dataclasses.dataclass(frozen=True)
class Phrase:
    """A part of a sentence whose box is known.

    Attributes:
        sentence: which sentence of its picture, from 0.
        text: the words as they stand there.
        box: (ymin, xmin, ymax, xmax).
        object: the same number for the same object of a picture.
        first: first token in the tokens of `visem_tf.text.tokenize`; -1 where it is to be found.
        last: last token, inclusive.
        in_pixels: whether the box is in pixels; otherwise in shares of height and width.
        anywhere: whether it is one of several sentences that may hold the words, so that this one
            need not.
    """

    sentence: int
    text: str
    box: tuple[float, float, float, float]
    object: int
    first: int = -1
    last: int = -1
    in_pixels: bool = True
    anywhere: bool = False


@dataclasses.dataclass(frozen=True)
class Record:
    """One picture, still in its file.

    Attributes:
        image_id: unique in the data set; "#" in it is written "%23".
        path: the picture's file.
        sentences: its sentences, in order, at least one.
        phrases: parts of the sentences with boxes.
        file_name: the picture's path below the folder of pictures, unique; by default its name.
        size: width and height that boxes in pixels refer to; None takes those of the picture.
        split: the split that the data name, in their spelling; None where they name none.
    """

    image_id: str
    path: AnyPath
    sentences: Sequence[str]
    phrases: Sequence[Phrase] = ()
    file_name: str = ""
    size: tuple[int, int] | None = None
    split: str | None = None

    def __post_init__(self) -> None:
        if not self.file_name:
            object.__setattr__(self, "file_name", self.path.name)


class RegionBlock(NamedTuple):
    """The regions of some pictures.

    Attributes:
        features: float [B, R, F]; region 0 stands for the whole picture.
        boxes: float32 [B, R, 4], (ymin, xmin, ymax, xmax) in shares of the picture; the whole
            picture where boxes are not known.
        mask: bool [B, R], False where a picture has fewer regions.
    """

    features: np.ndarray
    boxes: np.ndarray
    mask: np.ndarray


class RegionSource(Protocol):
    """The regions of all pictures of a split, in its order."""

    @property
    def has_boxes(self) -> bool:
        """Whether it is known where the regions are."""

    def blocks(self, start: int) -> Iterator[RegionBlock]:
        """Yields the regions of the pictures from a position on, some pictures at a time."""


def with_frame(features: np.ndarray, boxes: np.ndarray | None, mask: np.ndarray) -> RegionBlock:
    """Puts a region for the whole picture first: the mean of its regions.

    Args:
        features: float [B, R, F].
        boxes: float [B, R, 4], or None where they are not known.
        mask: bool [B, R], which regions are real; a picture without any has zeros as its mean.

    Returns:
        The same with R + 1 regions.

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


def has_words(sentences: Sequence[str]) -> list[bool]:
    """Says for each sentence whether any token is left by `visem_tf.text.tokenize`.

    Args:
        sentences: N raw sentences.

    Returns:
        N booleans.

    Example:
        >>> has_words(["A dog .", " ... ", ""])
        [True, False, False]
    """
    return [bool(tokens) for tokens in tokenized(sentences)]


def tokenized(sentences: Sequence[str]) -> list[list[bytes]]:
    """Returns the tokens of each sentence, as `visem_tf.text.tokenize` makes them.

    Example:
        >>> tokenized(["A dog ."])
        [[b'a', b'dog']]
    """
    result: list[list[bytes]] = []
    for start in range(0, len(sentences), 4096):
        chunk = [
            sentence.encode("utf-8", "replace") for sentence in sentences[start : start + 4096]
        ]
        result += text.tokenize(chunk).to_list()
    return result


def safe_image_id(name: str) -> str:
    """Returns a name as an image id, which must not contain the sign that starts a sentence number.

    Example:
        >>> safe_image_id("picture#1.jpg")
        'picture%231.jpg'
    """
    return name.replace("#", "%23")
