"""Pretrained word vectors (section 3.1.2): word2vec's binary format, text of word2vec or GloVe.

    binary   the line "COUNT DIM", then for each word: the word, a space, DIM float32, and in some
             files a line break
    text     a word and DIM numbers in each line; word2vec's text starts with the line "COUNT DIM"

Files have millions of words; they are read once, and only words of the vocabulary are kept.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from visem_tf.errors import UserError
from visem_tf.runtime.storage import AnyPath, as_path, reason_of, require_regular
from visem_tf.text import SPECIAL_WORDS, Vocabulary, tokenize

_LONGEST_WORD = 1 << 12
BLOCK_BYTES = 1 << 20
"""Bytes of a file that are read at a time."""


class WordVectors(NamedTuple):
    """Vectors of the words of a vocabulary.

    Attributes:
        matrix: Vectors, float32 [V, D]; zeros for words without a vector.
        known: Boolean array [V], True for words with a vector.
    """

    matrix: np.ndarray
    known: np.ndarray

    @property
    def coverage_percent(self) -> float:
        """Share of the words that have a vector, without the four special words."""
        words = self.known[len(SPECIAL_WORDS) :]
        return 100.0 * float(np.mean(words)) if len(words) else 0.0


def read_word_vectors(path: str, vocabulary: Vocabulary) -> WordVectors:
    """Reads the vectors of the words of a vocabulary.

    A word of the vocabulary gets the vector of the same word in the file, or else that of the first
    word that the tokenizer turns into it ("Dog" becomes "dog").

    Args:
        path: File on any storage.
        vocabulary: Vocabulary of V words.

    Raises:
        UserError: The file cannot be read, has another format, or has none of the words.
    """
    file = as_path(path)
    ids = {word.encode(): token_id for token_id, word in enumerate(vocabulary.words)}
    for special in SPECIAL_WORDS:
        del ids[special.encode()]
    folded = {_folded(word) for word in ids}
    candidates: dict[bytes, np.ndarray] = {}
    try:
        for word, vector in _read(file):
            if _folded(word) in folded:
                candidates.setdefault(word, vector)
    except OSError as error:
        raise UserError(f"cannot read the word vectors {file} ({reason_of(error)})") from error
    found = {ids[word]: vector for word, vector in candidates.items() if word in ids}
    if candidates:
        for word, tokens in zip(candidates, tokenize(list(candidates)).to_list(), strict=True):
            if len(tokens) == 1 and tokens[0] in ids:
                found.setdefault(ids[tokens[0]], candidates[word])
    if not found:
        raise UserError(
            f"{file} has none of the {len(ids)} words of the vocabulary; give vectors of the "
            "language of the sentences"
        )
    dim = len(next(iter(found.values())))
    matrix, known = np.zeros((len(vocabulary), dim), np.float32), np.zeros(len(vocabulary), bool)
    for token_id, vector in found.items():
        matrix[token_id], known[token_id] = vector, True
    if not np.isfinite(matrix).all():
        raise UserError(f"{file} has vectors that contain NaN or infinity; fix or replace it")
    return WordVectors(matrix, known)


def fill_in(vectors: WordVectors, start: np.ndarray) -> np.ndarray:
    """Replaces initial word vectors by pretrained ones.

    Pretrained vectors are scaled to the mean length of the initial ones, for which the encoder is
    initialised; their directions and relative lengths stay.

    Args:
        vectors: Pretrained vectors of V words.
        start: Initial vectors, float [V, D], kept for words without a pretrained one.

    Returns:
        Array of float32 [V, D].

    Raises:
        ValueError: The shapes differ.
    """
    if vectors.matrix.shape != start.shape:
        raise ValueError(f"start must have shape {vectors.matrix.shape}, not {start.shape}")
    length = float(np.mean(np.linalg.norm(vectors.matrix[vectors.known], axis=1)))
    usual = float(np.mean(np.linalg.norm(start, axis=1)))
    scale = usual / length if length > 0 else 1.0
    known = vectors.known[:, np.newaxis]
    return np.where(known, vectors.matrix * scale, start).astype(np.float32)


def _folded(word: bytes) -> str:
    """Returns roughly what the tokenizer makes of a word, to select candidates quickly."""
    text = word.decode("utf-8", "ignore").casefold()
    return "".join(character for character in text if character.isalnum())


def _read(path: AnyPath) -> Iterator[tuple[bytes, np.ndarray]]:
    """Yields the words of a file with their vectors."""
    require_regular(path)
    with path.open("rb") as file:
        first = file.readline()
        if not first.strip():
            raise UserError(f"{path} is empty; give a file of word vectors")
        header = first.split()
        has_header = len(header) == 2 and all(part.isdigit() for part in header)
        if has_header and not _is_line(file.read(BLOCK_BYTES).split(b"\n", 1)[0], int(header[1])):
            file.seek(len(first))
            yield from _read_binary(path, file, int(header[0]), int(header[1]))
        else:
            file.seek(len(first) if has_header else 0)
            yield from _read_text(path, file, first_line=2 if has_header else 1)


def _is_line(line: bytes, dim: int) -> bool:
    """Returns whether a line has the text format: a word and DIM numbers."""
    fields = line.rstrip().split(b" ")
    return len(fields) == dim + 1 and all(map(_is_number, fields[1:]))


def _is_number(field: bytes) -> bool:
    try:
        return math.isfinite(float(field))
    except ValueError:
        return False


def _read_binary(
    path: AnyPath, file: Any, count: int, dim: int
) -> Iterator[tuple[bytes, np.ndarray]]:
    buffer, size = b"", 4 * dim
    for number in range(1, count + 1):
        space = buffer.find(b" ", 0, _LONGEST_WORD)
        while space < 0 or len(buffer) < space + 1 + size:
            more = file.read(BLOCK_BYTES)
            if not more or (space < 0 and len(buffer) > _LONGEST_WORD):
                raise UserError(
                    f"{path} is incomplete or damaged: its first line announces {count} words of "
                    f"{dim} numbers, and it ends in word {number}"
                )
            buffer += more
            space = buffer.find(b" ", 0, _LONGEST_WORD)
        word = buffer[:space].lstrip(b"\n")  # some files have a line break after every vector
        yield word, np.frombuffer(buffer, "<f4", dim, space + 1).copy()
        buffer = buffer[space + 1 + size :]


def _read_text(path: AnyPath, file: Any, first_line: int) -> Iterator[tuple[bytes, np.ndarray]]:
    dim = 0
    for number, line in enumerate(file, start=first_line):
        if not line.strip():
            continue
        fields = line.rstrip().split(b" ")
        if not dim:
            dim = len(fields) - 1
            if dim < 2 or not _is_line(line, dim):
                raise UserError(
                    f"{path} line {number} is not a word with its numbers; give the binary format "
                    "of word2vec, or text of word2vec or GloVe"
                )
        try:
            vector = np.array(fields[-dim:], np.float32)
        except ValueError as error:
            raise UserError(f"{path} line {number} is not a word with {dim} numbers") from error
        if len(fields) <= dim:
            raise UserError(f"{path} line {number} has fewer than {dim} numbers; it is incomplete")
        yield b" ".join(fields[:-dim]), vector  # words of GloVe may contain spaces
