"""Pictures of a data set before they are opened: what a reader of a format hands on."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

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
