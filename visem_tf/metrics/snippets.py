"""Agreement of the snippets of sentences with the phrases that people marked in them."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from visem_tf.metrics.resampling import Evidence, ratio


class Spans(NamedTuple):
    """M spans of words.

    Attributes:
        sentence: Sentence of every span, int array [M].
        first: Its first word, int array [M].
        last: Its last word, inclusive, int array [M].
    """

    sentence: np.ndarray
    first: np.ndarray
    last: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        """Words of every span, int array [M]."""
        return self.last + 1 - self.first

    def unique(self) -> "Spans":
        """Returns the different spans, ordered by sentence, first and last word."""
        rows = np.stack([self.sentence, self.first, self.last], axis=1)
        return Spans(*np.unique(rows.astype(np.int64), axis=0).T)


class SnippetHits(NamedTuple):
    """Agreement of M snippets and P phrases; see `snippet_hits`.

    Attributes:
        found: Whether each phrase is a snippet, bool [P].
        overlap: Largest IoU of the words of each phrase with those of a snippet, float [P].
        bad_ends: Whether each snippet has a function word at an end, bool [M].
        length: Words of each snippet, int [M].
        phrase_sentence: Sentence of each phrase, int [P].
        snippet_sentence: Sentence of each snippet, int [M].
    """

    found: np.ndarray
    overlap: np.ndarray
    bad_ends: np.ndarray
    length: np.ndarray
    phrase_sentence: np.ndarray
    snippet_sentence: np.ndarray

    def evidence(self, image_index: np.ndarray, images: int) -> dict[str, Evidence]:
        """Returns the per-image evidence of all metrics.

        * `precision`: the share of snippets that are a phrase, word by word.
        * `recall`: the share of phrases that are a snippet.
        * `f1`: the harmonic mean of the two.
        * `overlap`: the mean over phrases of the largest IoU of words with a snippet.
        * `function_word_ends`: the share of snippets with a function word at an end, except for
          determiners at the beginning, with which phrases begin.

        Args:
            image_index: Image of every sentence, int array [S].
            images: Number of images.
        """
        image_index = np.asarray(image_index)
        of_phrases = image_index[self.phrase_sentence]
        of_snippets = image_index[self.snippet_sentence]
        hits, phrases = ratio(self.found, of_phrases, images).parts.T
        snippets = np.bincount(of_snippets, minlength=images)
        return {
            "f1": Evidence("ratio", np.stack([2 * hits, phrases + snippets], axis=1)),
            "precision": Evidence("ratio", np.stack([hits, snippets], axis=1)),
            "recall": ratio(self.found, of_phrases, images),
            "overlap": ratio(self.overlap, of_phrases, images),
            "function_word_ends": ratio(self.bad_ends, of_snippets, images),
        }

    def figures(self, evidence: Mapping[str, Evidence]) -> dict[str, float | int | None]:
        """Returns the metrics, `mean_length` in words, and the numbers of snippets and phrases.

        Metrics without anything to average are None.

        Args:
            evidence: What `evidence` returned.
        """
        values = {n: e.values(np.ones([1, len(e.parts)]))[0] for n, e in evidence.items()}
        return {
            **{n: float(value) if np.isfinite(value) else None for n, value in values.items()},
            "mean_length": float(np.mean(self.length)) if len(self.length) else None,
            "snippets": len(self.length),
            "phrases": len(self.found),
        }


def snippet_hits(
    snippets: Spans, phrases: Spans, is_function: np.ndarray, is_determiner: np.ndarray
) -> SnippetHits:
    """Compares the snippets of sentences with marked phrases.

    Sentences without a marked phrase are left out: it is not known which phrases they have.

    Args:
        snippets: M snippets, no two of them equal.
        phrases: P phrases; equal ones count once, whatever their boxes.
        is_function: Boolean array [S, T], True for function words.
        is_determiner: Boolean array [S, T], True for the function words that may begin a phrase.

    Returns:
        Which phrases are found, in the order of sentence, first and last word, and the properties
        of the snippets of their sentences, in the same order.

    Example:
        >>> words = np.array([["a", "dog", "in", "the", "snow"]])
        >>> one = np.zeros(2, int)
        >>> hits = snippet_hits(
        ...     Spans(one, np.array([0, 2]), np.array([1, 4])),
        ...     Spans(one, np.array([0, 3]), np.array([1, 4])),
        ...     np.isin(words, ["a", "in", "the"]), np.isin(words, ["a", "the"]))
        >>> hits.found, hits.overlap.round(2), hits.bad_ends
        (array([ True, False]), array([1.  , 0.67]), array([False,  True]))
    """
    phrases, snippets = phrases.unique(), snippets.unique()
    marked = np.isin(snippets.sentence, phrases.sentence)
    snippets = Spans(*(part[marked] for part in snippets))
    overlap = _largest_overlap(phrases, snippets)
    first = snippets.sentence, snippets.first
    last = snippets.sentence, snippets.last
    return SnippetHits(
        overlap == 1,
        overlap,
        (is_function[first] & ~is_determiner[first]) | is_function[last],
        snippets.lengths,
        phrases.sentence,
        snippets.sentence,
    )


def _largest_overlap(phrases: Spans, snippets: Spans) -> np.ndarray:
    """Returns the largest IoU of the words of each phrase with a snippet of its sentence, [P]."""
    start = np.searchsorted(snippets.sentence, phrases.sentence, side="left")
    count = np.searchsorted(snippets.sentence, phrases.sentence, side="right") - start
    phrase = np.repeat(np.arange(len(count)), count)  # of every pair of one sentence
    snippet = np.arange(len(phrase)) + np.repeat(start - (np.cumsum(count) - count), count)
    low = np.maximum(phrases.first[phrase], snippets.first[snippet])
    high = np.minimum(phrases.last[phrase], snippets.last[snippet])
    shared = np.maximum(high + 1 - low, 0)
    total = phrases.lengths[phrase] + snippets.lengths[snippet]
    overlap = np.zeros(len(count))
    np.maximum.at(overlap, phrase, shared / (total - shared))
    return overlap
