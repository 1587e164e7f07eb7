"""Sentences as words: those that a user types, and what the vocabulary lacks of them."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from visem_tf.datasets.phrases import locate
from visem_tf.errors import UserError
from visem_tf.runtime.streams import warn
from visem_tf.runtime.terminal import printable
from visem_tf.text import UNK_ID, Vocabulary, tokenize


@dataclass(frozen=True)
class Query:
    """A sentence to search for or to ground.

    Attributes:
        text: The text as it was given.
        words: The T words that are used.
        token_ids: Ids of the words, int32 [T].
        dropped: Number of words that were cut off at the end.
        phrases: First and last word of every part of the sentence that is to be grounded too; None
            if none was asked for.
    """

    text: str
    words: list[str]
    token_ids: np.ndarray
    dropped: int
    phrases: Sequence[tuple[int, int]] | None = None

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


def split_sentences(texts: Sequence[str], vocabulary: Vocabulary, max_words: int) -> list[Query]:
    """Splits sentences into words and looks up their ids.

    Args:
        texts: The sentences, which may have no word at all.
        vocabulary: Vocabulary of the run.
        max_words: Number of words after which a sentence is cut.
    """
    tokens = tokenize(tf.constant(list(texts), tf.string))
    token_ids = vocabulary.lookup(tokens[:, :max_words]).to_list()
    queries = []
    for text, encoded, ids in zip(texts, tokens.to_list(), token_ids, strict=True):
        words = [word.decode() for word in encoded]
        dropped = len(words) - len(ids)
        queries.append(Query(text, words[:max_words], np.array(ids, np.int32), dropped))
    return queries


def read_query(
    text: str,
    vocabulary: Vocabulary,
    max_words: int,
    phrases: Sequence[str] | None = None,
) -> Query:
    """Reads a sentence that a user typed.

    Args:
        text: The sentence.
        vocabulary: Vocabulary of the run.
        max_words: Number of words after which the sentence is cut.
        phrases: Parts of the sentence to ground too; None if there are none. A part is found where
            it occurs first.

    Returns:
        The words and their ids.

    Raises:
        UserError: The sentence has no word, or no word of the vocabulary, or a phrase is not a part
            of it.

    Example:
        >>> vocabulary = Vocabulary.build(["a dog", "a cat"], min_count=1)
        >>> read_query("A dog, a bird!", vocabulary, 30).unknown
        ['bird']
    """
    text = text.encode("utf-8", "replace").decode("utf-8")
    [query] = split_sentences([text], vocabulary, max_words)
    shown = text if len(text) < 60 else text[:57] + "…"
    if not query.words:
        raise UserError(f"there is no word in the sentence {shown!r}")
    if set(query.token_ids.tolist()) == {UNK_ID}:
        raise UserError(
            f"no word of the sentence {shown!r} was among the training words; "
            "vocabulary.txt in the run directory lists them"
        )
    if phrases is None:
        return query
    return dataclasses.replace(query, phrases=[_place_of(phrase, query) for phrase in phrases])


def ragged_ids(queries: Sequence[Query]) -> tf.RaggedTensor:
    """Returns the token ids of S sentences, int32 [S, (T)]."""
    return tf.ragged.constant([query.token_ids.tolist() for query in queries], tf.int32)


def _place_of(phrase: str, query: Query) -> tuple[int, int]:
    """The first and last word of a phrase in its sentence, where it occurs first."""
    words = tokenize(tf.constant([phrase])).to_list()[0]
    starts = locate([word.encode() for word in query.words], words)
    if not starts:
        cut = f"; only its first {len(query.words)} words are read" if query.dropped else ""
        raise UserError(f"the phrase {phrase!r} is not a part of the sentence {query.text!r}{cut}")
    return starts[0], starts[0] + len(words) - 1


def print_remarks(queries: Sequence[Query]) -> None:
    """Prints the remarks on sentences as warnings."""
    for query in queries:
        for remark in query.remarks():
            warn(printable(remark))
