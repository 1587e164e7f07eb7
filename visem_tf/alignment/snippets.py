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
    is_function: np.ndarray,
    is_determiner: np.ndarray,
    *,
    split: bool = False,
    trim: bool = False,
    min_words: int = 1,
    keep: float = 1.0,
) -> Snippets:
    """Cuts sentences into snippets; with the default options, these are the segments.

    Args:
        regions: Region of every word, int array [S, T], as returned by `smooth_alignment`; -1 in
            the padding.
        scores: v_i · s_t of every word with its region, float array [S, T].
        is_function: Boolean array [S, T], True for function words.
        is_determiner: Boolean array [S, T], True for the function words that begin noun phrases.
        split: Whether segments are divided before every function word that follows another word.
        trim: Whether function words are removed from both ends, except for determiners from the
            beginning. Segments of function words alone are removed.
        min_words: Minimum number of words of a snippet.
        keep: Share of the snippets that are kept, above 0: those with the highest scores.

    Returns:
        The snippets.

    Example:
        >>> words = np.array([["is", "a", "dog", "in", "the"]])
        >>> found = find_snippets(
        ...     np.array([[4, 4, 4, 4, 4]]), np.ones([1, 5]), words != "dog",
        ...     np.isin(words, ["a", "the"]), trim=True)
        >>> found.first, found.last, found.region
        (array([1]), array([2]), array([4]))
    """
    pieces = regions
    if split:
        begins = is_function & ~np.pad(is_function, [[0, 0], [1, 0]], constant_values=True)[:, :-1]
        phrase = np.cumsum(begins, axis=1)
        pieces = np.where(regions >= 0, regions * (regions.shape[1] + 1) + phrase, -1)
    sentence, first, last, _ = find_segments(pieces)
    region = regions[sentence, first]
    if trim:
        place = np.arange(regions.shape[1])
        content = np.where(is_function, -1, place)
        before = np.maximum.accumulate(content, axis=1)  # the last content word so far
        opening = np.where(is_function & ~is_determiner, regions.shape[1], place)
        after = np.minimum.accumulate(opening[:, ::-1], axis=1)[:, ::-1]  # the next one to begin
        first, last = after[sentence, first], before[sentence, last]
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
