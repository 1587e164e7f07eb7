"""CIDEr-D of many sentences of token ids at once, fast enough for a reward in training.

The score is that of the COCO caption scorer (Vedantam and others, CVPR 2015), computed on token ids
instead of text, with document frequencies from references that are given once. It needs no Java.
"""

from typing import NamedTuple

import numpy as np

from visem_tf.text import PAD_ID

_LONGEST = 4
_SIGMA = 6.0


class _Grams(NamedTuple):
    """N-grams of the references, of one length n.

    Attributes:
        codes: Sorted int64 array [G], the n-grams that occur in references.
        idf: Float array [G], the log of the number of images divided by that of the images whose
            references contain the n-gram.
        keys: Sorted int64 array [E], reference * G + n-gram for every n-gram of every reference.
        values: Float array [E], their weights tf * idf.
        norms: Float array [S], the norm of the vector of every reference.
    """

    codes: np.ndarray
    idf: np.ndarray
    keys: np.ndarray
    values: np.ndarray
    norms: np.ndarray


class CiderReward:
    """Scores sentences against the references of their images.

    Args:
        references: Integer array [S, T], the tokens followed by PAD. To count END as a word, put
            it into references and sentences alike.
        image_index: Integer array [S], the image of every reference.
        vocabulary_size: V; token ids are below it.

    Raises:
        ValueError: If V is too large for the code of four words to be an int64.

    Example:
        >>> references = np.array([[4, 5, 6, 7, 2], [8, 9, 10, 11, 2]])
        >>> reward = CiderReward(references, np.array([0, 1]), vocabulary_size=12)
        >>> reward(references, np.array([0, 1])).round(3).tolist()  # END is in all
        [10.0, 10.0]
    """

    def __init__(
        self, references: np.ndarray, image_index: np.ndarray, vocabulary_size: int
    ) -> None:
        if vocabulary_size**_LONGEST > np.iinfo(np.int64).max:
            raise ValueError(f"vocabulary_size must be below 55,000, got {vocabulary_size}")
        self.vocabulary_size = vocabulary_size
        order = np.argsort(image_index, kind="stable")
        references, images = np.asarray(references)[order], np.asarray(image_index)[order]
        self._count = np.bincount(images)  # references of every image
        self._first = np.cumsum(self._count) - self._count
        self._lengths = _length(references)
        self._log_images = np.log(float(np.count_nonzero(self._count)))
        self._grams = [self._learn(references, images, n) for n in range(1, _LONGEST + 1)]

    def __call__(self, token_ids: np.ndarray, images: np.ndarray) -> np.ndarray:
        """Computes CIDEr-D of each sentence; the scorer's value in percent is 100 times the mean.

        Args:
            token_ids: Integer array [N, T], the tokens followed by PAD.
            images: Integer array [N], the images of the sentences.

        Returns:
            Float64 array [N], between 0 and 10; 0 for images without references.
        """
        token_ids, images = np.asarray(token_ids), np.asarray(images)
        per_row = self._count[images]
        row = np.repeat(
            np.arange(len(images)), per_row
        )  # of every pair of a sentence and a reference
        first_pair = np.cumsum(per_row) - per_row
        reference = self._first[images][row] + np.arange(len(row)) - first_pair[row]
        similarity = np.zeros(len(row))
        for n, grams in enumerate(self._grams, start=1):
            similarity += self._similarity(token_ids, n, grams, row, first_pair, reference)
        difference = _length(token_ids)[row] - self._lengths[reference]
        similarity *= np.exp(-(difference**2) / (2 * _SIGMA**2)) / _LONGEST
        totals = np.bincount(row, weights=similarity, minlength=len(images))
        return 10.0 * totals / np.maximum(per_row, 1)

    def _learn(self, references: np.ndarray, images: np.ndarray, n: int) -> _Grams:
        row, code, times = self._count_grams(references, n)
        codes, gram = np.unique(code, return_inverse=True)
        gram_of_images = np.unique(np.stack([gram, images[row]]), axis=1)[0]
        frequency = np.bincount(gram_of_images, minlength=len(codes))
        idf = self._log_images - np.log(np.maximum(frequency, 1))
        values = times * idf[gram]
        norms = np.sqrt(np.bincount(row, weights=values**2, minlength=len(references)))
        # Rows are sorted, and so are the codes of a row; hence the keys are sorted.
        return _Grams(codes, idf, row * max(len(codes), 1) + gram, values, norms)

    def _similarity(
        self,
        token_ids: np.ndarray,
        n: int,
        grams: _Grams,
        pair_row: np.ndarray,
        first_pair: np.ndarray,
        reference: np.ndarray,
    ) -> np.ndarray:
        """Computes the clipped cosine of n-grams for every pair of a sentence and a reference."""
        row, code, times = self._count_grams(token_ids, n)
        place, known = _find(grams.codes, code)
        values = times * self._log_images  # new n-grams count as those of one image
        values[known] = times[known] * grams.idf[place[known]]
        norms = np.sqrt(np.bincount(row, weights=values**2, minlength=len(token_ids)))
        row, place, values = row[known], place[known], values[known]
        pairs_of_row = np.bincount(pair_row, minlength=len(token_ids))
        repeats = pairs_of_row[row]
        entry = np.repeat(np.arange(len(row)), repeats)
        pair = first_pair[row][entry] + np.arange(len(entry))
        pair -= (np.cumsum(repeats) - repeats)[entry]
        key = reference[pair] * max(len(grams.codes), 1) + place[entry]
        where, there = _find(grams.keys, key)
        entry, pair, theirs = entry[there], pair[there], grams.values[where[there]]
        shared = np.minimum(values[entry], theirs) * theirs
        totals = np.bincount(pair, weights=shared, minlength=len(pair_row))
        lengths = norms[pair_row] * grams.norms[reference]
        return np.divide(totals, lengths, out=np.zeros(len(lengths)), where=lengths > 0)

    def _count_grams(
        self, token_ids: np.ndarray, n: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns row, code and count of every different n-gram, sorted by row and code."""
        width = max(token_ids.shape[1] - n + 1, 0)
        code = np.zeros([len(token_ids), width], np.int64)
        for offset in range(n):
            code = code * self.vocabulary_size + token_ids[:, offset : offset + width]
        row, column = np.nonzero(token_ids[:, n - 1 : n - 1 + width] != PAD_ID)
        code = code[row, column]
        order = np.lexsort((code, row))
        row, code = row[order], code[order]
        new = np.ones(len(row), bool)
        new[1:] = (row[1:] != row[:-1]) | (code[1:] != code[:-1])
        starts = np.flatnonzero(new)
        times = np.diff(np.append(starts, len(row)))
        return row[starts], code[starts], times


def _length(token_ids: np.ndarray) -> np.ndarray:
    """Returns the number of pairs of words, which the scorer uses as the length."""
    return np.maximum(np.count_nonzero(token_ids != PAD_ID, axis=1) - 1, 0)


def _find(ordered: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns positions of values in a sorted array, and whether the values are there."""
    if not len(ordered):
        return np.zeros(len(wanted), np.int64), np.zeros(len(wanted), bool)
    place = np.minimum(np.searchsorted(ordered, wanted), len(ordered) - 1)
    return place, ordered[place] == wanted
