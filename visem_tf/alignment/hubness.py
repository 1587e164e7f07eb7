"""Hubness: how well an image fits all sentences, or a sentence all images.

Some vectors in a space of many dimensions are near to nearly all others (Radovanović et al., JMLR
2010). Such images and sentences, called hubs, come first in rankings where they do not belong.
Scores with a bank of training images and training sentences find them:

    h(k) = 1/β log Σ_b exp(β S_kb) / Σ_j exp(β S_jb)

for an image k, over the sentences b and the images j of the bank, and h(l) of a sentence l likewise
over the images of the bank. S_kl - h(k) - h(l) is then ranked instead of S_kl. This is the inverted
softmax of Smith et al. (ICLR 2017) with a bank, as in Bogolin et al. (Cross Modal Retrieval with
Querybank Normalisation, CVPR 2022).
"""

import functools
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from visem_tf.alignment.scores import MOST_PRODUCTS, alignment_scores, unit_vectors
from visem_tf.alignment.word_scores import get_score


class Bank(NamedTuple):
    """A bank of training images and sentences, as NumPy arrays.

    Their scores with an image or a sentence show whether it is a hub.

    Embeddings of regions and words are multiplied by projections, after which they have P instead
    of D numbers and nearly the same products; see `projections`.

    Attributes:
        region_projection: float [D, P].
        word_projection: float [D, P].
        regions: Projected region embeddings of M images, float [M, R, P].
        region_mask: bool [M, R], True for real regions.
        words: Projected embeddings of all words of the sentences, float [W, P].
        sentence: Sentence of every word, int [W], ascending from 0 without gaps.
    """

    region_projection: np.ndarray
    word_projection: np.ndarray
    regions: np.ndarray
    region_mask: np.ndarray
    words: np.ndarray
    sentence: np.ndarray


def check_bank(bank: Bank, dim: int) -> None:
    """Checks that the arrays of a bank fit together.

    Args:
        bank: The bank.
        dim: Size D of embeddings.

    Raises:
        ValueError: They do not.
    """
    of_regions, of_words, regions, mask, words, sentence = bank
    size = of_regions.shape[-1] if of_regions.ndim == 2 else 0
    if not of_regions.shape == of_words.shape == (dim, size):
        raise ValueError("it is of another alignment model")
    are_images = regions.ndim == 3 and regions.shape[2] == size and mask.dtype == bool
    are_images = are_images and mask.shape == regions.shape[:2] and mask.any(axis=1).all()
    are_sentences = sentence.ndim == 1 and sentence.dtype.kind == "i" and len(sentence) > 0
    are_sentences = are_sentences and words.shape == (len(sentence), size)
    if not (are_images and len(regions) and are_sentences):
        raise ValueError("its arrays do not fit together")
    if sentence[0] != 0 or not np.isin(np.diff(sentence), (0, 1)).all():
        raise ValueError("its sentences are not in order")
    if not all(np.isfinite(each).all() for each in (of_regions, of_words, regions, words)):
        raise ValueError("it has numbers that are not finite")


class Hubness:
    """Computes the hubness of images and sentences, in graph or eagerly.

    Args:
        bank: The bank.
        scale: Factor β of the scores.
        score: Name of the score, "best_region" or "cosine".
        normalise_by_length: Whether scores are divided by the number of words in the sentence.
    """

    def __init__(
        self,
        bank: Bank,
        scale: float,
        score: str = "best_region",
        normalise_by_length: bool = False,
    ) -> None:
        self._bank = bank  # NumPy arrays, which become constants of every graph
        self._scale = scale
        self._unit = get_score(score).unit
        self._lengths = np.bincount(bank.sentence).astype(np.float32)
        self._mean = normalise_by_length or get_score(score).pooling == "mean"

    def of_images(
        self,
        region_embeddings: tf.Tensor,
        region_mask: tf.Tensor | None = None,
        chunk_size: int | None = None,
    ) -> tf.Tensor:
        """Returns the hubness of images, float32 [B].

        Args:
            region_embeddings: float [B, R, D].
            region_mask: bool [B, R], True for real regions. None means that all are real.
            chunk_size: Number of images at a time, which limits the memory; see
                `images_at_a_time`. None means all at once.
        """
        regions = self._project(region_embeddings, self._bank.region_projection)
        scores = self._scale * self._with_sentences(regions, region_mask, chunk_size)
        levels, _ = self._levels
        return tf.reduce_logsumexp(scores - levels, axis=1) / self._scale

    def of_sentences(
        self, word_embeddings: tf.Tensor, word_mask: tf.Tensor, chunk_size: int | None = None
    ) -> tf.Tensor:
        """Returns the hubness of sentences, float32 [N].

        Args:
            word_embeddings: float [N, T, D].
            word_mask: bool [N, T], True for real words.
            chunk_size: Number of images of the bank at a time; None means all at once.
        """
        scores = self._scale * alignment_scores(
            tf.constant(self._bank.regions),
            self._project(word_embeddings, self._bank.word_projection),
            tf.constant(self._bank.region_mask),
            word_mask,
            normalise_by_length=self._mean,
            chunk_size=chunk_size,
        )
        _, levels = self._levels
        return tf.reduce_logsumexp(scores - levels[:, tf.newaxis], axis=0) / self._scale

    @property
    def images_at_a_time(self) -> int:
        """Number of images with as many regions as those of the bank that take little memory."""
        products = self._bank.regions.shape[1] * len(self._bank.words)
        return max(1, MOST_PRODUCTS // products)

    @functools.cached_property
    def _levels(self) -> tuple[tf.Tensor, tf.Tensor]:
        """log Σ_j exp(β S_jb) of every sentence b, and log Σ_b exp(β S_jb) of every image j."""
        with tf.init_scope():  # once, also if a graph is being traced
            scores = self._scale * self._with_sentences(
                self._bank.regions, self._bank.region_mask, self.images_at_a_time
            )
            return tf.reduce_logsumexp(scores, axis=0), tf.reduce_logsumexp(scores, axis=1)

    def _with_sentences(
        self, regions: tf.Tensor, mask: tf.Tensor | None, chunk_size: int | None
    ) -> tf.Tensor:
        """Scores of images of projected regions [B, R, P] with the sentences of the bank."""
        of_words = alignment_scores(  # every word is a sentence of its own
            regions, self._bank.words[:, np.newaxis], mask, chunk_size=chunk_size
        )
        of_sentences = tf.transpose(
            tf.math.segment_sum(tf.transpose(of_words), self._bank.sentence)
        )
        return of_sentences / self._lengths if self._mean else of_sentences

    def _project(self, embeddings: tf.Tensor, projection: tf.Tensor) -> tf.Tensor:
        embeddings = tf.cast(embeddings, tf.float32)
        return tf.matmul(unit_vectors(embeddings) if self._unit else embeddings, projection)


def projections(regions: np.ndarray, words: np.ndarray, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Computes projections A and B, with which (v_i A) · (s_t B) is nearly v_i · s_t.

    Of all such products of P numbers, these have the smallest squared error over all pairs of the
    given regions and words: with C and E the second moments of the two, and U Σ Vᵀ the singular
    value decomposition of C^½ E^½, they are A = C^-½ U Σ^½ and B = E^-½ V Σ^½.

    Args:
        regions: Region embeddings, float [n, D].
        words: Word embeddings, float [m, D].
        dim: P.

    Returns:
        A and B, float32 [D, min(P, D)].

    Example:
        >>> regions, words = np.float32([[3, 0], [0, 1]]), np.float32([[2, 0], [0, 1]])
        >>> a, b = projections(regions, words, 1)
        >>> np.round((regions @ a) @ (words @ b).T, 3) + 0.0
        array([[6., 0.],
               [0., 0.]], dtype=float32)
    """
    (region_root, region_inverse), (word_root, word_inverse) = map(_roots, (regions, words))
    left, values, right = np.linalg.svd(region_root @ word_root)
    scales = np.sqrt(values[:dim])
    found = region_inverse @ left[:, :dim] * scales, word_inverse @ right[:dim].T * scales
    return found[0].astype(np.float32), found[1].astype(np.float32)


def _roots(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The square root of the second moment of vectors [n, D], and its pseudoinverse."""
    vectors = vectors.astype(np.float64)
    values, directions = np.linalg.eigh(vectors.T @ vectors / len(vectors))
    roots = np.sqrt(np.maximum(values, 0))
    is_large = roots > 1e-4 * roots.max()
    inverses = np.divide(1, roots, out=np.zeros_like(roots), where=is_large)
    return directions * roots @ directions.T, directions * inverses @ directions.T
