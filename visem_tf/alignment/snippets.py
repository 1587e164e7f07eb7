"""Snippets: the parts of text segments that describe a region (paper, section 3.1.4).

A segment is a maximal run of words with one region, wherever it begins and ends ("lies over a
little"). A snippet is what remains of it as a phrase.
"""

from typing import NamedTuple

import numpy as np

from visem_tf.alignment.segments import find_segments


class Snippets(NamedTuple):
    """M snippets, ordered by sentence and word.

    Attributes:
        sentence: Sentence of every snippet, int array [M].
        first: Its first word, int array [M].
        last: Its last word, inclusive, int array [M].
        region: Region of its words, int array [M].
        score: Mean of v_i · s_t over its words, float array [M].
    """

    sentence: np.ndarray
    first: np.ndarray
    last: np.ndarray
    region: np.ndarray
    score: np.ndarray

    def select(self, chosen: np.ndarray) -> "Snippets":
        """Returns the snippets that a boolean array [M] marks."""
        return Snippets(*(part[chosen] for part in self))


def find_snippets(
    regions: np.ndarray,
    scores: np.ndarray,
    *,
    may_begin: np.ndarray | None = None,
    may_end: np.ndarray | None = None,
    begins_phrase: np.ndarray | None = None,
    min_words: int = 1,
    keep: float = 1.0,
) -> Snippets:
    """Cuts sentences into snippets; with the default options, these are the segments.

    Args:
        regions: Region of every word, int array [S, T], as returned by `smooth_alignment`; -1 in
            the padding.
        scores: v_i · s_t of every word with its region, float array [S, T].
        may_begin: Boolean array [S, T], True for words that a snippet may begin with; words before
            the first of them are removed. None allows all.
        may_end: Boolean array [S, T], True for words that a snippet may end with; words after the
            last of them are removed. None allows all.
        begins_phrase: Boolean array [S, T], True for words before which segments are divided. None
            divides none.
        min_words: Minimum number of words of a snippet.
        keep: Share of the snippets that are kept, above 0: those with the highest scores.

    Returns:
        The snippets.

    Example:
        >>> words = np.array([["is", "a", "dog", "in", "the"]])
        >>> found = find_snippets(
        ...     np.array([[4, 4, 4, 4, 4]]), np.ones([1, 5]),
        ...     may_begin=np.isin(words, ["a", "the", "dog"]), may_end=words == "dog")
        >>> found.first, found.last, found.region
        (array([1]), array([2]), array([4]))
    """
    pieces = regions
    if begins_phrase is not None:
        phrase = np.cumsum(begins_phrase, axis=1)
        pieces = np.where(regions >= 0, regions * (regions.shape[1] + 1) + phrase, -1)
    sentence, first, last, _ = find_segments(pieces)
    region = regions[sentence, first]
    place = np.arange(regions.shape[1])
    if may_begin is not None:
        next_one = np.where(may_begin, place, regions.shape[1])
        next_one = np.minimum.accumulate(next_one[:, ::-1], axis=1)[:, ::-1]
        first = next_one[sentence, first]
    if may_end is not None:
        last = np.maximum.accumulate(np.where(may_end, place, -1), axis=1)[sentence, last]
    lengths = last + 1 - first  # 0 or less if nothing is left
    totals = np.cumsum(np.pad(scores, [[0, 0], [1, 0]]), axis=1)
    score = (totals[sentence, last + 1] - totals[sentence, first]) / np.maximum(lengths, 1)
    found = Snippets(sentence, first, last, region, score).select(lengths >= max(1, min_words))
    if keep < 1 and len(found.score):
        found = found.select(found.score >= np.quantile(found.score, 1 - keep))
    return found


def regions_of_snippets(snippets: Snippets, shape: tuple[int, int]) -> np.ndarray:
    """Returns the region of every word, int32 array [S, T]; -1 for words outside of snippets.

    Example:
        >>> one = Snippets(*(np.array([n]) for n in (0, 1, 2, 7, 1.5)))
        >>> regions_of_snippets(one, (1, 4))
        array([[-1,  7,  7, -1]], dtype=int32)
    """
    lengths = snippets.last + 1 - snippets.first
    starts = np.cumsum(lengths) - lengths
    word = np.arange(lengths.sum()) - np.repeat(starts - snippets.first, lengths)
    regions = np.full(shape, -1, np.int32)
    regions[np.repeat(snippets.sentence, lengths), word] = np.repeat(snippets.region, lengths)
    return regions
