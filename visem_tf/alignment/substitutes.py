"""Nouns and words that may take their place, found in the training sentences alone.

A sentence with one noun replaced ("a dog runs" as "a squirrel runs") is false for its image and
differs from a true one in a single word, which makes it a hard negative (Gupta et al., "Contrastive
learning for weakly supervised phrase grounding", ECCV 2020). The authors take replacements from a
language model; here they are words with similar neighbours in the training sentences.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from visem_tf.text import PAD_ID, SPECIAL_WORDS

_OPENS, _ENDS = 1e-3, 2e-3
_FOLLOWS, _PRECEDES = 0.3, 0.5
_ROUNDS = 10
_CONTEXT_WORDS = 2_000
_NEIGHBOURS = 2
_SMOOTHING = 0.75
_IMAGES_AT_A_TIME = 4096


class Sentences(NamedTuple):
    """The sentences of a training split, one after the other.

    Attributes:
        words: Token ids of all sentences, int [W].
        sentence: Index of the sentence of every word, int [W], ascending.
        image: Index of the image of every word, int [W].
        vocabulary_size: V.
    """

    words: np.ndarray
    sentence: np.ndarray
    image: np.ndarray
    vocabulary_size: int

    @classmethod
    def of(
        cls, token_ids: tf.RaggedTensor, image_index: np.ndarray, vocabulary_size: int
    ) -> "Sentences":
        """Reads sentences.

        Args:
            token_ids: Token ids of the sentences, int32 [S, (T)].
            image_index: Index of the image of every sentence, int [S].
            vocabulary_size: V.
        """
        sentence = token_ids.value_rowids().numpy()
        words = token_ids.values.numpy()
        return cls(words, sentence, np.asarray(image_index)[sentence], vocabulary_size)

    def neighbours(self, distance: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns all pairs of words at a distance in their sentence, the first one on the left."""
        same = self.sentence[distance:] == self.sentence[:-distance]
        return self.words[:-distance][same], self.words[distance:][same]


def find_nouns(sentences: Sentences) -> np.ndarray:
    """Finds the words that are nouns, by the places in which they occur.

    1. Words that open sentences (0.1 % of them or more) and all but never end one are the first
       modifiers: "a", "two", "the", "young".
    2. A word that follows modifiers in 30 % of its occurrences or more is part of noun phrases.
    3. Words that precede such words in half of their occurrences or more are modifiers too, such as
       "red"; steps 2 and 3 are repeated until no more words are found.

    The parts of noun phrases that are not modifiers are nouns. The rule needs no list of words and
    suits languages in which determiners and adjectives precede nouns.

    Args:
        sentences: Training sentences.

    Returns:
        Boolean array [V]; False for the special words.
    """
    size = sentences.vocabulary_size
    left, right = sentences.neighbours(1)
    counts = np.bincount(sentences.words, minlength=size)
    edge = np.diff(sentences.sentence, prepend=-1, append=np.iinfo(np.int32).max) > 0
    opening = np.bincount(sentences.words[edge[:-1]], minlength=size)
    ending = np.bincount(sentences.words[edge[1:]], minlength=size)

    openers = (opening >= max(1, _OPENS * opening.sum())) & (ending <= _ENDS * counts)
    openers[: len(SPECIAL_WORDS)] = False
    modifiers = openers
    for _ in range(_ROUNDS):
        after = np.bincount(right, modifiers[left], size)
        phrases = (counts > 0) & (after >= _FOLLOWS * counts) & ~openers
        phrases[: len(SPECIAL_WORDS)] = False
        before = np.bincount(left, phrases[right], size)
        found = openers | ((counts > 0) & (before >= _PRECEDES * counts))
        if np.array_equal(found, modifiers):
            break
        modifiers = found
    return phrases & ~modifiers


def find_substitutes(sentences: Sentences, candidates: int = 10) -> np.ndarray:
    """Finds the words that may take the place of each noun.

    Two nouns are similar if their neighbours are: their vectors of positive pointwise mutual
    information with the two words on the left and the two on the right are compared by the cosine.
    A word that describes the same images as the noun more often than by chance, such as a synonym
    or a part of it, is no substitute, because it may be true of the image.

    Args:
        sentences: Training sentences.
        candidates: Largest number M of substitutes of a word.

    Returns:
        Substitutes of every word by decreasing similarity, int32 [V, M]; `PAD_ID` in the places
        that are left, and in all places of words that are not nouns.
    """
    nouns = np.flatnonzero(find_nouns(sentences))
    vectors = _neighbour_vectors(sentences, nouns)
    similarity = vectors @ vectors.T
    allowed = _seen_together(sentences, nouns) <= 1
    np.fill_diagonal(allowed, False)
    similarity = np.where(allowed & (similarity > 0), similarity, -1)
    order = np.argsort(-similarity, axis=1, kind="stable")[:, :candidates]
    found = np.take_along_axis(similarity, order, axis=1) > 0
    substitutes = np.full((sentences.vocabulary_size, candidates), PAD_ID, np.int32)
    substitutes[nouns, : order.shape[1]] = np.where(found, nouns[order], PAD_ID)
    return substitutes


def _neighbour_vectors(sentences: Sentences, nouns: np.ndarray) -> np.ndarray:
    """Unit vectors of positive mutual information with neighbours, float32 [N, 4 * C].

    Contexts are the C most frequent words; contexts are counted to the power of 0.75, so that rare
    ones weigh less.
    """
    size = min(sentences.vocabulary_size, _CONTEXT_WORDS)
    row = np.full(sentences.vocabulary_size, -1)
    row[nouns] = np.arange(len(nouns))
    parts = []
    for distance in range(1, _NEIGHBOURS + 1):
        left, right = sentences.neighbours(distance)
        for word, context in ((left, right), (right, left)):
            used = (row[word] >= 0) & (context < size)
            cells = row[word[used]] * size + context[used]
            counts = np.bincount(cells, minlength=len(nouns) * size).reshape(len(nouns), size)
            share = np.bincount(context[context < size], minlength=size) ** _SMOOTHING
            expected = counts.sum(axis=1, keepdims=True) * (share / max(share.sum(), 1))
            ratio = np.divide(counts, expected, where=counts > 0, out=np.ones(counts.shape))
            parts.append(np.log(np.maximum(ratio, 1)).astype(np.float32))
    vectors = np.concatenate(parts, axis=1)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)


def _seen_together(sentences: Sentences, nouns: np.ndarray) -> np.ndarray:
    """Computes how much more often than by chance two nouns describe one image, float [N, N].

    1 means as often as independent words would.
    """
    images = int(sentences.image.max(initial=-1)) + 1
    row = np.full(sentences.vocabulary_size, -1)
    row[nouns] = np.arange(len(nouns))
    used = row[sentences.words] >= 0
    noun, image = row[sentences.words[used]], sentences.image[used]
    order = np.argsort(image, kind="stable")
    noun, image = noun[order], image[order]
    together = np.zeros((len(nouns), len(nouns)), np.float32)
    for first in range(0, images, _IMAGES_AT_A_TIME):
        block = slice(*np.searchsorted(image, [first, first + _IMAGES_AT_A_TIME]))
        described = np.zeros((len(nouns), _IMAGES_AT_A_TIME), np.float32)
        described[noun[block], image[block] - first] = 1
        together += described @ described.T
    counts = np.diagonal(together)
    return together * images / np.maximum(np.outer(counts, counts), 1)


def words_of_images(sentences: Sentences, num_images: int) -> tf.RaggedTensor:
    """Returns the different words of the sentences of every image, int32 [I, (W)]."""
    pairs = np.unique(
        sentences.image.astype(np.int64) * sentences.vocabulary_size + sentences.words
    )
    image, word = np.divmod(pairs, sentences.vocabulary_size)
    return tf.RaggedTensor.from_value_rowids(word.astype(np.int32), image, nrows=num_images)


def swap_nouns(
    token_ids: tf.Tensor, image_words: tf.Tensor, substitutes: tf.Tensor, random: tf.Tensor
) -> tf.Tensor:
    """Makes sentences in which one noun is replaced by a word that no sentence of the image has.

    The nouns of a sentence are divided into K parts, and each of its false sentences replaces one
    of another part, so that they seldom replace the same one.

    Args:
        token_ids: Token ids of the true sentences, int32 [B, T], `PAD_ID` in the padding.
        image_words: Words of all sentences of each image, int32 [B, W], `PAD_ID` in the padding.
        substitutes: Substitutes of every word, int32 [V, M], `PAD_ID` where there are fewer.
        random: Numbers in [0, 1) that choose a noun and a substitute, float32 [B, K, 2].

    Returns:
        Token ids of the false sentences, int32 [B, K, T]; only `PAD_ID` if a sentence has no noun
        that can be replaced.
    """
    # One more padded word, so that a batch without words needs no special case.
    candidates = tf.gather(substitutes, tf.pad(token_ids, [[0, 0], [0, 1]]))  # [B, T+1, M]
    present = tf.reduce_any(
        candidates[..., tf.newaxis] == image_words[:, tf.newaxis, tf.newaxis], axis=-1
    )
    usable = tf.logical_and(candidates != PAD_ID, ~present)
    count = tf.shape(random)[1]
    part = (tf.cast(tf.range(count), tf.float32) + random[..., 0]) / tf.cast(count, tf.float32)
    place = _nth_true(tf.reduce_any(usable, axis=2)[:, tf.newaxis], part)  # [B, K]
    chosen = _nth_true(tf.gather(usable, tf.maximum(place, 0), batch_dims=1), random[..., 1])
    words = tf.gather(candidates, tf.maximum(place, 0), batch_dims=1)  # [B, K, M]
    words = tf.gather(words, tf.maximum(chosen, 0), batch_dims=2)[..., tf.newaxis]
    is_place = tf.range(tf.shape(token_ids)[1]) == place[..., tf.newaxis]  # [B, K, T]
    swapped = tf.where(is_place, words, token_ids[:, tf.newaxis])
    return tf.where(place[..., tf.newaxis] >= 0, swapped, PAD_ID)


def _nth_true(values: tf.Tensor, fraction: tf.Tensor) -> tf.Tensor:
    """Finds the place of one of the true values of the last axis, or -1 if all are false.

    Args:
        values: Boolean tensor [B, K or 1, N].
        fraction: Which one, in [0, 1), float32 [B, K].
    """
    ranks = tf.cumsum(tf.cast(values, tf.int32), axis=-1)
    total = ranks[..., -1]
    wanted = tf.cast(fraction * tf.cast(total, tf.float32), tf.int32)
    wanted = tf.minimum(wanted, total - 1)
    place = tf.argmax(ranks > wanted[..., tf.newaxis], axis=-1, output_type=tf.int32)
    return tf.where(total > 0, place, -1)
