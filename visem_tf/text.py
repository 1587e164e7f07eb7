"""From sentences to words to token ids and back, in graph.

The rules of the paper (section 4): lower case, remove characters that are not letters or digits,
keep the words that occur at least 5 times in the training split; others become <unk>. Ids 0 to 3
are <pad>, <start>, <end> and <unk>. A vocabulary file holds one word a line; line number = id.
"""

import collections
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_text as tf_text

from visem_tf.errors import UserError
from visem_tf.runtime.files import write_atomically
from visem_tf.runtime.storage import read_regular

PAD_ID, START_ID, END_ID, UNK_ID = 0, 1, 2, 3
SPECIAL_WORDS = ("<pad>", "<start>", "<end>", "<unk>")

_DETERMINERS = (
    "a an the this that these those some any each every either neither both all another other one "
    "no my our your his her its their whose"
)
_FUNCTION_WORD_GROUPS = (
    _DETERMINERS,
    # prepositions and particles
    "about above across after against along alongside amid among amongst around as at atop away "
    "before behind below beneath beside besides between beyond by down during for from in inside "
    "into like near nearby next of off on onto out outside over past per through throughout to "
    "toward towards under underneath until up upon via with within without",
    # pronouns
    "i me my mine we us our ours you your yours he him his she her hers it its they them their "
    "theirs himself herself itself themselves who whom whose which what there here one ones",
    # conjunctions
    "and or but nor so than then if because when where while though although",
    # auxiliaries and what remains of "dog's" and "isn't"
    "is are was were be been being am do does did has have had having can could will would may "
    "might must shall should not no isnt arent s",
)
FUNCTION_WORDS = frozenset(word for group in _FUNCTION_WORD_GROUPS for word in group.split())
"""Frequent English words that name nothing that can be seen, as `tokenize` returns them."""

DETERMINERS = frozenset(_DETERMINERS.split())
"""Function words that begin noun phrases, possessives among them."""

_NUMERALS = "two three four five six seven eight nine ten several many few"
NUMERALS = frozenset(_NUMERALS.split())
"""Words that count things, and begin noun phrases as determiners do."""

_SENTENCES_AT_A_TIME = 10_000


def tokenize(sentences: tf.Tensor) -> tf.RaggedTensor:
    """Splits sentences into words.

    Text in any script is accepted: Unicode is normalised (NFKC, case folded; bytes that are not
    UTF-8 are removed), then everything but letters, marks, digits and white space is removed, and
    the rest is split at white space. "don't" becomes "dont".

    Args:
        sentences: Texts, string [N].

    Returns:
        Words, ragged string [N, (T)]; a sentence without a letter or digit has none.

    Example:
        >>> tokenize(["Two dogs, playing!"]).to_list()
        [[b'two', b'dogs', b'playing']]
    """
    sentences = tf.convert_to_tensor(sentences, tf.string)
    text = tf.strings.unicode_transcode(
        sentences, "UTF-8", "UTF-8", errors="replace", replacement_char=0xFFFD
    )
    text = tf_text.normalize_utf8(tf_text.case_fold_utf8(text), "NFKC")
    text = tf.strings.regex_replace(text, r"[\pZ\x{85}]", " ")
    text = tf.strings.regex_replace(text, r"[^\pL\pM\pN\s]", "")
    return tf.strings.split(text)


def tokenize_all(sentences: Iterable[str]) -> Iterator[tf.RaggedTensor]:
    """Yields the words of many sentences, a large batch at a time."""
    encoded = [sentence.encode("utf-8", "replace") for sentence in sentences]
    for first in range(0, len(encoded), _SENTENCES_AT_A_TIME):
        yield tokenize(encoded[first : first + _SENTENCES_AT_A_TIME])


def with_start_and_end(token_ids: tf.RaggedTensor) -> tf.RaggedTensor:
    """Adds START before and END after every row; int32 [N, (T)] to [N, (T + 2)]."""
    ends = tf.ones([token_ids.nrows(), 1], tf.int32)
    return tf.concat([ends * START_ID, token_ids, ends * END_ID], axis=1)


class Vocabulary(tf.Module):
    """The words of a model and their ids.

    It is a `tf.Module`, so that its lookup table is saved with a SavedModel that has it as an
    attribute.

    Args:
        words: All words in the order of their ids; the first four are `SPECIAL_WORDS`.

    Raises:
        ValueError: `words` does not begin with `SPECIAL_WORDS`, or has a word that is repeated,
            empty or contains white space.

    Example:
        >>> vocabulary = Vocabulary.build(["a dog", "a cat", "a dog"], min_count=2)
        >>> vocabulary.words
        ('<pad>', '<start>', '<end>', '<unk>', 'a', 'dog')
        >>> vocabulary.encode(["A cat."]).to_list()
        [[4, 3]]
        >>> vocabulary.decode([[1, 4, 5, 2, 0]]).numpy()
        array([b'a dog'], dtype=object)
    """

    def __init__(self, words: Iterable[str]):
        super().__init__(name="vocabulary")
        words = tuple(words)
        if words[:4] != SPECIAL_WORDS:
            raise ValueError(f"words must begin with {SPECIAL_WORDS}, not {words[:4]}")
        for word, count in collections.Counter(words).items():
            if count > 1:
                raise ValueError(f"words must be unique, but {word!r} comes {count} times")
            if word.split() != [word]:
                raise ValueError(f"words must not be empty or contain white space, but {word!r} is")
        # Not tracked, because TensorFlow would wrap the tuple.
        object.__setattr__(self, "_words", words)
        with tf.init_scope():
            self._table = tf.lookup.StaticHashTable(
                tf.lookup.KeyValueTensorInitializer(
                    tf.constant(words), tf.range(len(words), dtype=tf.int32)
                ),
                default_value=UNK_ID,
            )

    @classmethod
    def build(cls, sentences: Iterable[str], min_count: int = 5) -> "Vocabulary":
        """Returns the vocabulary of the sentences of a training split.

        Args:
            sentences: Texts of the training split only.
            min_count: Minimum number of occurrences of a word that is kept.

        Returns:
            Words by decreasing count, equally frequent ones in alphabetical order.
        """
        if min_count < 1:
            raise ValueError(f"min_count must be at least 1, not {min_count!r}")
        counts: collections.Counter[bytes] = collections.Counter()
        for tokens in tokenize_all(sentences):
            counts.update(tokens.flat_values.numpy().tolist())
        kept = ((-count, word.decode()) for word, count in counts.items() if count >= min_count)
        return cls((*SPECIAL_WORDS, *(word for _, word in sorted(kept))))

    def grown_by(self, words: Iterable[str]) -> "Vocabulary":
        """Returns this vocabulary with further words after its own, whose ids stay the same.

        Example:
            >>> Vocabulary([*SPECIAL_WORDS, "a"]).grown_by(["dog", "a"]).words[4:]
            ('a', 'dog')
        """
        return Vocabulary(dict.fromkeys([*self.words, *words]))

    @classmethod
    def load(cls, path: str | Path) -> "Vocabulary":
        """Reads the file that `save` wrote.

        Raises:
            UserError: The file cannot be read or is not a vocabulary.
        """
        try:
            text = read_regular(Path(path)).decode()
            return cls(text.removesuffix("\n").split("\n"))
        except OSError as error:
            raise UserError(
                f"cannot read the vocabulary {path}: {error.strerror or error}; check the path"
            ) from error
        except ValueError as error:  # also text that is not UTF-8
            raise UserError(
                f"{path} is not a vocabulary: {error}; it must have one word a line"
            ) from error

    def save(self, path: str | Path) -> None:
        """Writes one word a line; the line number, from 0, is the id."""
        write_atomically(path, "\n".join(self.words) + "\n")

    @property
    def words(self) -> tuple[str, ...]:
        """All words in the order of their ids."""
        return self._words

    def __len__(self) -> int:
        return len(self._words)

    def among(self, words: Collection[str]) -> np.ndarray:
        """Returns which words of the vocabulary are among `words`, bool [V], by their ids."""
        return np.array([word in words for word in self.words])

    def content_words(self) -> np.ndarray:
        """Returns which words are content words, bool [V], by their ids.

        They are all but `FUNCTION_WORDS` and `SPECIAL_WORDS`.

        Example:
            >>> Vocabulary([*SPECIAL_WORDS, "a", "dog"]).content_words().nonzero()[0]
            array([5])
        """
        return ~self.among({*FUNCTION_WORDS, *SPECIAL_WORDS})

    def encode(self, sentences: tf.Tensor) -> tf.RaggedTensor:
        """Returns the token ids of sentences, without START and END.

        Args:
            sentences: Texts, string [N].

        Returns:
            Token ids, ragged int32 [N, (T)]; `UNK_ID` for words outside the vocabulary.
        """
        return self.lookup(tokenize(sentences))

    def lookup(self, tokens: tf.RaggedTensor) -> tf.RaggedTensor:
        """Returns the ids of words.

        Args:
            tokens: Words from `tokenize`, ragged string [N, (T)].

        Returns:
            Token ids, ragged int32 [N, (T)]; `UNK_ID` for words outside the vocabulary.
        """
        return tf.ragged.map_flat_values(self._table.lookup, tokens)

    def decode(self, token_ids: tf.Tensor) -> tf.Tensor:
        """Returns the texts of token ids: the words before the first END, without PAD and START.

        Args:
            token_ids: Token ids, int [..., T].

        Returns:
            Texts, string [...]; words are separated by one space.
        """
        token_ids = tf.convert_to_tensor(token_ids)
        ends = tf.cast(tf.equal(token_ids, END_ID), tf.int32)
        shown = tf.equal(tf.cumsum(ends, axis=-1), 0)
        shown &= tf.not_equal(token_ids, PAD_ID) & tf.not_equal(token_ids, START_ID)
        words = tf.gather(tf.constant([f" {word}" for word in self.words]), token_ids)
        text = tf.strings.reduce_join(tf.where(shown, words, ""), axis=-1)
        return tf.strings.strip(text)
