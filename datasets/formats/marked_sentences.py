"""Finds the sentences of an image that marked sentences correspond to, and their words."""

import collections
import difflib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

_MIN_RATIO = 0.9


class Match(NamedTuple):
    """The sentence that a marked sentence corresponds to.

    Attributes:
        sentence: Index of the sentence.
        words: Pairs of corresponding words: the index of a marked word, and that of a word of the
            sentence.
    """

    sentence: int
    words: Sequence[tuple[int, int]]

    def span(self, first: int, last: int) -> tuple[int, int] | None:
        """Returns the first and last word of a phrase in the sentence, or None if it has none.

        Args:
            first: Index of the phrase's first word in the marked sentence.
            last: Index of its last word, inclusive.
        """
        found = [word for marked, word in self.words if first <= marked <= last]
        return (min(found), max(found)) if found else None


def match_sentences(
    marked: Sequence[Sequence[bytes]], sentences: Sequence[Sequence[bytes]]
) -> list[Match | None]:
    """Matches the marked sentences of an image with its sentences, which may be in another order.

    A marked sentence belongs to the sentence with the same words. If there is none, it belongs to
    the remaining one whose letters are nearly the same (a ratio of `difflib` of at least 0.9), as
    where one of the two has "grey" or "nearby" and the other "gray" or "near by".

    Args:
        marked: Words of the marked sentences.
        sentences: Words of the image's sentences.

    Returns:
        A match for each marked sentence, or None.

    Example:
        >>> exact, near = match_sentences(
        ...     [[b"a", b"dog"], [b"a", b"gray", b"cat", b"nearby", b"a", b"tree"]],
        ...     [[b"a", b"grey", b"cat", b"near", b"by", b"a", b"tree"], [b"a", b"dog"]])
        >>> exact.sentence, near.sentence, near.span(3, 5)
        (1, 0, (3, 6))
    """
    places = collections.defaultdict(list)
    for number, sentence in enumerate(sentences):
        places[tuple(sentence)].append(number)
    remaining = set(range(len(sentences)))
    matches: list[Match | None] = []
    for words in marked:
        numbers = places.get(tuple(words))
        if numbers:
            # Identical sentences get one marked sentence each.
            number = numbers.pop(0) if len(numbers) > 1 else numbers[0]
            remaining.discard(number)
            matches.append(Match(number, [(word, word) for word in range(len(words))]))
        else:
            matches.append(None)
    for row, words in enumerate(marked):
        if matches[row] is None and remaining:
            similar = {number: _compare(words, sentences[number]) for number in sorted(remaining)}
            number = max(similar, key=lambda number: similar[number].ratio())
            if similar[number].ratio() >= _MIN_RATIO:
                remaining.discard(number)
                matches[row] = Match(number, _pairs(words, sentences[number], similar[number]))
    return matches


def _compare(words: Sequence[bytes], sentence: Sequence[bytes]) -> difflib.SequenceMatcher[str]:
    one, other = (b"".join(each).decode() for each in (words, sentence))
    return difflib.SequenceMatcher(None, one, other, autojunk=False)


def _pairs(
    words: Sequence[bytes], sentence: Sequence[bytes], matcher: difflib.SequenceMatcher[str]
) -> list[tuple[int, int]]:
    """Returns the pairs of words that share a matched letter."""
    one, other = (
        np.repeat(np.arange(len(each)), [len(word.decode()) for word in each])
        for each in (words, sentence)
    )
    pairs = {
        (int(one[block.a + step]), int(other[block.b + step]))
        for block in matcher.get_matching_blocks()
        for step in range(block.size)
    }
    return sorted(pairs)
