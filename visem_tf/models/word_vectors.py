"""Word vectors that others have trained: word2vec's binary format, text of word2vec or GloVe.

    binary   the line "COUNT DIM", then for each word: the word, a blank, DIM float32, and with some
             writers a line end
    text     a word and DIM numbers in each line; word2vec's text starts with the line "COUNT DIM"

Files have millions of words, so they are read once and only words of the vocabulary are kept.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from visem_tf.errors import UserError
from visem_tf.runtime.storage import AnyPath, as_path, reason_of
from visem_tf.text import SPECIAL_WORDS, Vocabulary, tokenize

_LONGEST_WORD = 1 << 12
_BLOCK = 1 << 20


class WordVectors(NamedTuple):
    """Vectors of the words of a vocabulary.

    Attributes:
        matrix: float32 [V, D]; rows of words without a vector are zeros.
        known: bool [V], which words have one.
    """

    matrix: np.ndarray
    known: np.ndarray

    @property
    def coverage_percent(self) -> float:
        """Share of the words that have a vector, the four special ones not counted."""
        words = self.known[len(SPECIAL_WORDS) :]
        return 100.0 * float(np.mean(words)) if len(words) else 0.0


def read_word_vectors(path: str, vocabulary: Vocabulary) -> WordVectors:
    """Reads the vectors of the words of a vocabulary.

    A word of the file is taken as it stands, or else as the tokenizer makes it ("Dog" is "dog"),
    the first of several; one that becomes several words or none is left out.

    Args:
        path: the file, on any storage.
        vocabulary: whose words are wanted.

    Raises:
        UserError: the file cannot be read, is of another form, or has none of the words.
    """
    file = as_path(path)
    wanted = {
        word.encode(): token_id
        for token_id, word in enumerate(vocabulary.words)
        if token_id >= len(SPECIAL_WORDS)
    }
    exact: dict[int, np.ndarray] = {}
    folded: dict[bytes, np.ndarray] = {}
    lower = {_folded(word) for word in wanted}
    try:
        for word, vector in _read(file):
            if word in wanted:
                exact.setdefault(wanted[word], vector)
            elif _folded(word) in lower:
                folded.setdefault(word, vector)
    except OSError as error:
        raise UserError(f"cannot read the word vectors {file} ({reason_of(error)})") from error
    _add_folded(exact, folded, wanted)
    if not exact:
        raise UserError(
            f"{file} has none of the {len(wanted)} words of the vocabulary; give vectors of the "
            "language of the sentences"
        )
    dim = len(next(iter(exact.values())))
    matrix, known = np.zeros((len(vocabulary), dim), np.float32), np.zeros(len(vocabulary), bool)
    for token_id, vector in exact.items():
        matrix[token_id], known[token_id] = vector, True
    if not np.isfinite(matrix).all():
        raise UserError(f"{file} holds vectors with what is no number; mend or replace it")
    return WordVectors(matrix, known)


def fill_in(vectors: WordVectors, start: np.ndarray) -> np.ndarray:
    """Puts the vectors in the place of those that training would start from.

    They are brought to the mean length of the start's, which the encoder's initial values are made
    for; their directions and relative lengths stay.

    Args:
        vectors: of V words.
        start: float [V, D], kept for words without a vector.

    Returns:
        float32 [V, D].

    Raises:
        ValueError: the shapes differ.
    """
    if vectors.matrix.shape != start.shape:
        raise ValueError(f"start must have shape {vectors.matrix.shape}, not {start.shape}")
    length = float(np.mean(np.linalg.norm(vectors.matrix[vectors.known], axis=1)))
    usual = float(np.mean(np.linalg.norm(start, axis=1)))
    scale = usual / length if length > 0 else 1.0
    known = vectors.known[:, np.newaxis]
    return np.where(known, vectors.matrix * scale, start).astype(np.float32)


def _read(path: AnyPath) -> Iterator[tuple[bytes, np.ndarray]]:
    """Yields the words of a file with their vectors, in either form."""
    with path.open("rb") as file:
        first = file.readline()
        header = first.split()
        has_header = len(header) == 2 and all(part.isdigit() for part in header)
        rest = file.read(_BLOCK)
        if not first.strip():
            raise UserError(f"{path} is empty; give a file of word vectors")
        if has_header and _is_binary(rest, int(header[1])):
            yield from _read_binary(path, file, rest, int(header[0]), int(header[1]))
        else:
            yield from _read_text(path, file, first, rest, has_header)


def _is_binary(start: bytes, dim: int) -> bool:
    """Whether what follows the header is no line of a word and numbers."""
    line = start.split(b"\n", 1)[0].rstrip()
    fields = line.split(b" ")
    return len(fields) != dim + 1 or any(_number(field) is None for field in fields[1:])


def _read_binary(
    path: AnyPath, file: Any, start: bytes, count: int, dim: int
) -> Iterator[tuple[bytes, np.ndarray]]:
    buffer, size = start, 4 * dim
    for number in range(count):
        while True:
            blank = buffer.find(b" ", 0, _LONGEST_WORD)
            if blank >= 0 and len(buffer) >= blank + 1 + size:
                break
            more = file.read(_BLOCK)
            if not more or (blank < 0 and len(buffer) > _LONGEST_WORD):
                raise UserError(
                    f"{path} is cut short or broken: it promises {count} words of {dim} numbers, "
                    f"and ends in word {number + 1}"
                )
            buffer += more
        # Some writers end every vector with a line end, some do not.
        word = buffer[:blank].lstrip(b"\n")
        yield word, np.frombuffer(buffer, "<f4", dim, blank + 1).copy()
        buffer = buffer[blank + 1 + size :]


def _read_text(
    path: AnyPath, file: Any, first: bytes, start: bytes, has_header: bool
) -> Iterator[tuple[bytes, np.ndarray]]:
    dim = 0
    for number, line in enumerate(_lines(file, first + start), start=1):
        if (number == 1 and has_header) or not line.strip():
            continue
        fields = line.rstrip().split(b" ")
        if not dim:
            # A word of GloVe may hold blanks, so the dimension is the longest tail of numbers.
            dim = len(fields) - 1
            if dim < 2 or any(_number(field) is None for field in fields[1:]):
                raise UserError(
                    f"{path} line {number} is no word with its numbers; give the binary format of "
                    "word2vec, or text of word2vec or GloVe"
                )
        try:
            vector = np.array(fields[-dim:], np.float32)
        except ValueError as error:
            raise UserError(f"{path} line {number} is no word with {dim} numbers") from error
        if len(fields) <= dim:
            raise UserError(f"{path} line {number} has fewer than {dim} numbers; it is cut short")
        yield b" ".join(fields[:-dim]), vector


def _lines(file: Any, start: bytes) -> Iterator[bytes]:
    rest = start
    while True:
        *lines, rest = rest.split(b"\n")
        yield from lines
        more = file.read(_BLOCK)
        if not more:
            if rest:
                yield rest
            return
        rest += more


def _number(field: bytes) -> float | None:
    try:
        value = float(field)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _folded(word: bytes) -> str:
    """Roughly the token of a word; what might be in the vocabulary is tokenized afterwards."""
    text = word.decode("utf-8", "ignore").casefold()
    return "".join(sign for sign in text if sign.isalnum())


def _add_folded(
    exact: dict[int, np.ndarray], folded: dict[bytes, np.ndarray], wanted: dict[bytes, int]
) -> None:
    """Adds words that are in the vocabulary once the tokenizer has brought them into its form."""
    words = list(folded)
    if not words:
        return
    for word, tokens in zip(words, tokenize(words).to_list(), strict=True):
        if len(tokens) == 1 and tokens[0] in wanted:
            exact.setdefault(wanted[tokens[0]], folded[word])
