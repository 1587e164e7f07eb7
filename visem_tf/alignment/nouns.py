"""Which words are nouns, as far as the training sentences show it without a tagger."""

import numpy as np

from visem_tf.text import PAD_ID

_AFTER_DETERMINER, _INSIDE_PHRASE = 0.2, 0.85
"""A modifier follows a determiner at least so often, and is followed by a word of its phrase at
least so often."""


def noun_shares(
    token_ids: np.ndarray, is_determiner: np.ndarray, is_function: np.ndarray
) -> np.ndarray:
    """Computes how often each word stands where nouns stand.

    Nouns often follow a determiner, a numeral or a modifier, and precede a function word or the end
    of the sentence ("the dog in", "two red balls."). Verbs hardly ever do. Modifiers are words that
    often follow a determiner and seldom end a phrase ("the red …").

    Args:
        token_ids: Words of S sentences, int array [S, T], `PAD_ID` after the last word.
        is_determiner: Boolean array [V], True for determiners and numerals.
        is_function: Boolean array [V], True for function words.

    Returns:
        Share of such places among the occurrences of every word, float array [V]; 0 for function
        words, and for words that do not occur.

    Example:
        >>> words = np.array(["<pad>", "the", "dog", "sits", "by", "red"])
        >>> sentences = np.array([[1, 5, 2, 4, 1, 2], [1, 2, 3, 4, 2, 0], [1, 5, 2, 3, 0, 0]])
        >>> shares = noun_shares(sentences, words == "the", np.isin(words, ["the", "by"]))
        >>> dict(zip(words[2:].tolist(), shares[2:].tolist(), strict=True))
        {'dog': 0.4, 'sits': 0.0, 'by': 0.0, 'red': 0.0}
    """
    padded = np.pad(token_ids, [[0, 0], [1, 1]], constant_values=PAD_ID)
    before, words, after = padded[:, :-2], padded[:, 1:-1], padded[:, 2:]
    is_content = (words != PAD_ID) & ~is_function[words]
    ends_phrase = is_function[after] | (after == PAD_ID)

    def shares(places: np.ndarray) -> np.ndarray:
        found, every = (
            np.bincount(words[where], minlength=len(is_function))
            for where in (is_content & places, is_content)
        )
        return found / np.maximum(every, 1)

    is_modifier = shares(is_determiner[before]) >= _AFTER_DETERMINER
    is_modifier &= shares(~ends_phrase) >= _INSIDE_PHRASE
    return shares((is_determiner | is_modifier)[before] & ends_phrase)
