"""Nouns as the training sentences show them, against loops over the words of sentences."""

import numpy as np

from visem_tf.alignment.nouns import noun_shares
from visem_tf.text import DETERMINERS, FUNCTION_WORDS, NUMERALS

SENTENCES = """
a dog runs through the grass
two dogs sit near the red ball
the brown dog in the water jumps for a red ball
a man holding a brown ball
a red car
the man and a dog
a brown cat and a red cat
""".strip().splitlines()


def expected_shares(sentences):
    """By the definition: modifiers first, then the places of nouns."""
    opens = DETERMINERS | NUMERALS
    places = {}
    for sentence in sentences:
        words = [None, *sentence.split(), None]
        for before, word, after in zip(words, words[1:], words[2:], strict=False):
            if word not in FUNCTION_WORDS:
                ends = after is None or after in FUNCTION_WORDS
                places.setdefault(word, []).append((before, ends))
    modifiers = {
        word
        for word, found in places.items()
        if np.mean([before in opens for before, _ in found]) >= 0.2
        and np.mean([not ends for _, ends in found]) >= 0.85
    }
    return {
        word: np.mean([ends and before in opens | modifiers for before, ends in found])
        for word, found in places.items()
    }


def test_shares_equal_their_definition():
    vocabulary = ["<pad>", *sorted({word for s in SENTENCES for word in s.split()})]
    longest = max(len(sentence.split()) for sentence in SENTENCES)
    token_ids = np.zeros([len(SENTENCES), longest], int)
    for row, sentence in enumerate(SENTENCES):
        ids = [vocabulary.index(word) for word in sentence.split()]
        token_ids[row, : len(ids)] = ids
    kinds = (DETERMINERS | NUMERALS, FUNCTION_WORDS)
    found = noun_shares(token_ids, *(np.array([w in kind for w in vocabulary]) for kind in kinds))
    expected = expected_shares(SENTENCES)
    for word, share in zip(vocabulary, found, strict=True):
        assert share == expected.get(word, 0), word
    # "red" and "brown" are modifiers, without which a ball were no noun.
    assert expected["ball"] == 1
    assert expected["runs"] == expected["holding"] == expected["red"] == 0


def test_no_sentences_have_no_nouns():
    none = np.zeros(5, bool)
    assert noun_shares(np.zeros([0, 3], int), none, none).tolist() == [0] * 5
