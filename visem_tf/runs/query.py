"""Sentences that a user types: their words, and what the vocabulary lacks."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from visem_tf.errors import UserError
from visem_tf.runtime.terminal import printable
from visem_tf.text import UNK_ID, Vocabulary, tokenize


@dataclass(frozen=True)
class Query:
    """A sentence that a user typed.

    Attributes:
        text: The text as it was typed.
        words: The T words that are used.
        token_ids: Ids of the words, int32 [T].
        dropped: Number of words that were cut off at the end.
    """

    text: str
    words: list[str]
    token_ids: np.ndarray
    dropped: int

    @property
    def unknown(self) -> list[str]:
        """Words that do not occur in the vocabulary, without repetitions."""
        pairs = zip(self.words, self.token_ids.tolist(), strict=True)
        return list(dict.fromkeys(word for word, token_id in pairs if token_id == UNK_ID))

    def remarks(self) -> list[str]:
        """Messages for the user about unknown and dropped words."""
        found = []
        if self.unknown:
            were = "was" if len(self.unknown) == 1 else "were"
            found.append(f"{', '.join(self.unknown)} {were} not among the training words")
        if self.dropped:
            found.append(f"only the first {len(self.words)} words are read")
        return found


def read_query(text: str, vocabulary: Vocabulary, max_words: int) -> Query:
    """Splits a sentence into words and looks up their ids.

    Args:
        text: The sentence.
        vocabulary: Vocabulary of the run.
        max_words: Number of words after which the sentence is cut.

    Returns:
        The words and their ids.

    Raises:
        UserError: The sentence has no word, or no word of the vocabulary.

    Example:
        >>> vocabulary = Vocabulary.build(["a dog", "a cat"], min_count=1)
        >>> read_query("A dog, a bird!", vocabulary, 30).unknown
        ['bird']
    """
    text = text.encode("utf-8", "replace").decode("utf-8")
    tokens = tokenize(tf.constant([text]))
    words = [word.decode() for word in tokens.to_list()[0]]
    token_ids = vocabulary.lookup(tokens[:, :max_words]).numpy()[0].astype(np.int32)
    shown = text if len(text) < 60 else text[:57] + "…"
    if not words:
        raise UserError(f"there is no word in the sentence {shown!r}")
    if set(token_ids.tolist()) == {UNK_ID}:
        raise UserError(
            f"no word of the sentence {shown!r} was among the training words; "
            "vocabulary.txt in the run directory lists them"
        )
    return Query(text, words[:max_words], token_ids, max(0, len(words) - max_words))


def print_remarks(queries: Sequence[Query]) -> None:
    """Prints the remarks on sentences as warnings."""
    for query in queries:
        for remark in query.remarks():
            print(f"visem_tf: warning: {printable(remark)}", file=sys.stderr)
