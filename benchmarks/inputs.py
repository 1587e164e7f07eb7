"""Random sentences and features with the shapes of Flickr8K."""

from __future__ import annotations

import numpy as np

from visem_tf.text import END_ID, PAD_ID, START_ID, UNK_ID

VOCABULARY, LONGEST = 2_538, 25
REGIONS, FEATURES, DIM, WORD_DIM = 20, 1_280, 1_000, 300
"""R, F, D and the size of the word vectors, as in the preset `paper`."""


def lengths(random: np.random.Generator, count: int) -> np.ndarray:
    """Returns lengths of sentences: about 11 words, at least 3, at most `LONGEST`."""
    return np.clip(random.normal(11, 3.9, count).round(), 3, LONGEST).astype(np.int64)


def token_rows(random: np.random.Generator, count: int) -> list[np.ndarray]:
    """Returns sentences of known words, int32 [T] each."""
    return [
        random.integers(UNK_ID + 1, VOCABULARY, length, np.int32)
        for length in lengths(random, count)
    ]


def padded(rows: list[np.ndarray], *, ends: bool = False) -> np.ndarray:
    """Returns int32 [N, T], with START and END if `ends` is true."""
    if ends:
        rows = [np.concatenate([[START_ID], row, [END_ID]]) for row in rows]
    token_ids = np.full([len(rows), max(map(len, rows))], PAD_ID, np.int32)
    for target, row in zip(token_ids, rows, strict=True):
        target[: len(row)] = row
    return token_ids


def features(random: np.random.Generator, *shape: int) -> np.ndarray:
    """Returns vectors of length 10, float32."""
    vectors = random.standard_normal(shape, np.float32)
    return vectors * (10 / np.linalg.norm(vectors, axis=-1, keepdims=True))
