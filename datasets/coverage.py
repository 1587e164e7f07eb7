"""Share of the training sentences that models can learn: unknown words and long sentences."""

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from visem_tf.text import SPECIAL_WORDS, UNK_ID, Vocabulary

MIN_WORDS = 20
"""A vocabulary of fewer words is called too small to describe images."""
MIN_WORDS_PER_SENTENCE = 3
"""Sentences of fewer words on average are taken as without spaces in scripts that need none."""
MAX_PERCENT = 50.0
"""More unknown words or cut sentences are called too many."""

# Thai, Lao, Burmese, Khmer, Japanese and Chinese.
_WITHOUT_SPACES = re.compile(r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]")


class Coverage(NamedTuple):
    """Statistics of what a model sees of sentences.

    Attributes:
        num_words: Number of words in the vocabulary, without the special ones.
        unknown_percent: Percentage of the words of the sentences that are not among them.
        cut_percent: Percentage of the sentences that are longer than `text.max_words`.
        has_spaces: Whether at least half of the sentences are in scripts with spaces between words.
        words_per_sentence: Mean number of words of the sentences.
    """

    num_words: int
    unknown_percent: float
    cut_percent: float
    has_spaces: bool = True
    words_per_sentence: float = 0.0

    def __str__(self) -> str:
        return (
            f"vocabulary: {self.num_words:,} words; {self.unknown_percent:.1f} % of the words in "
            f"the training sentences are unknown, {self.cut_percent:.1f} % of the sentences are cut"
        )

    def warnings(self) -> list[str]:
        """Returns why training on these sentences makes little sense; empty if it does."""
        found = []
        if self.num_words < MIN_WORDS:
            found.append(
                f"the vocabulary has only {self.num_words} words, too few to describe images; add "
                "sentences, or lower --text.min_count"
            )
        if self.unknown_percent > MAX_PERCENT:
            found.append(
                f"{self.unknown_percent:.0f} % of the words in the training sentences are not in "
                "the vocabulary; add sentences, or lower --text.min_count"
            )
        # With spaces put between its words, a sentence of such a script has several words.
        if not self.has_spaces and (found or self.words_per_sentence < MIN_WORDS_PER_SENTENCE):
            found.append(
                "the sentences are in a script without spaces between words; put spaces between "
                "them"
            )
        if self.cut_percent > MAX_PERCENT:
            found.append(
                f"{self.cut_percent:.0f} % of the training sentences are cut; raise "
                "--text.max_words"
            )
        return found


def coverage(vocabulary: Vocabulary, sentences: Sequence[str], max_words: int) -> Coverage:
    """Computes what a model sees of sentences.

    Args:
        vocabulary: Words of the model.
        sentences: Raw sentences.
        max_words: Number of words after which sentences are cut.

    Example:
        >>> vocabulary = Vocabulary([*SPECIAL_WORDS, "a"])
        >>> coverage(vocabulary, ["a dog", "a"], max_words=1)[:3]
        (1, 33.33333333333333, 50.0)
    """
    token_ids = vocabulary.encode(sentences)
    without_spaces = sum(bool(_WITHOUT_SPACES.search(sentence)) for sentence in sentences)
    return Coverage(
        len(vocabulary) - len(SPECIAL_WORDS),
        _percent(token_ids.flat_values.numpy() == UNK_ID),
        _percent(token_ids.row_lengths().numpy() > max_words),
        2 * without_spaces <= len(sentences),
        float(token_ids.row_lengths().numpy().mean()) if sentences else 0.0,
    )


def _percent(among: np.ndarray) -> float:
    return 100.0 * float(among.mean()) if among.size else 0.0
