"""Scores of all images of a split with all its sentences, for validation and for ranking.

Beside the scores, only the region embeddings and one block of sentences are in memory.
"""

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from visem_tf.alignment.hubness import Bank, Hubness, check_bank
from visem_tf.alignment.scores import alignment_scores
from visem_tf.errors import UserError
from visem_tf.metrics.embedding_files import Vectors
from visem_tf.metrics.ranking import ranking_metrics
from visem_tf.models.alignment_model import AlignmentModel
from visem_tf.regions.dataset_cache import FeatureCache
from visem_tf.runtime.arrays import read_arrays
from visem_tf.runtime.progress import progress_bar
from visem_tf.runtime.storage import reason_of
from visem_tf.text import PAD_ID, Vocabulary

_IMAGES_AT_A_TIME = 100
_SENTENCES_AT_A_TIME = 500

Block = tuple[tf.Tensor, tf.Tensor]
"""Embeddings of images [B, R, D] or of sentences [N, T, D], and their mask."""


def sentence_token_ids(
    vocabulary: Vocabulary, sentences: Sequence[str], max_words: int
) -> tf.RaggedTensor:
    """Returns the token ids of sentences, cut after `max_words`, int32 [S, (T)]."""
    return vocabulary.encode(tf.constant(list(sentences), tf.string))[:, :max_words]


def score_blocks(
    score: Callable[[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor],
    images: Sequence[Block],
    sentences: Iterable[Block],
    num_sentences: int,
) -> np.ndarray:
    """Scores blocks of images with blocks of sentences.

    Args:
        score: Function of region embeddings, word embeddings and the masks of both, which returns
            scores [B, N].
        images: All blocks of images; they are used once for every block of sentences.
        sentences: Blocks of sentences, which are computed one at a time.
        num_sentences: Number S of sentences in all blocks.

    Returns:
        Scores, float32 [I, S].
    """
    scores = np.empty([sum(mask.shape[0] for _, mask in images), num_sentences], np.float32)
    column = 0
    with progress_bar(num_sentences, "score", "sentences", delay=2) as bar:
        for words, word_mask in sentences:
            stop, row = column + word_mask.shape[0], 0
            for regions, region_mask in images:
                block = score(regions, words, region_mask, word_mask)
                scores[row : row + block.shape[0], column:stop] = block
                row += block.shape[0]
            bar.update(stop - column)
            column = stop
    return scores


class Scorer:
    """Scores every image of a split with every sentence, a block at a time.

    Args:
        model: Built alignment model; its weights may change between calls.
        whole_frame: Whether only region 0, the whole frame, of every image is used.
        hubness: What is subtracted from the scores, if anything.
    """

    def __init__(
        self, model: AlignmentModel, *, whole_frame: bool = False, hubness: Hubness | None = None
    ) -> None:
        dim = model.region_encoder.embedding_dim
        features = model.region_encoder.projection.kernel.shape[0]
        self._used = slice(0, 1) if whole_frame else slice(None)
        self.encode_regions = tf.function(
            model.encode_regions, input_signature=[tf.TensorSpec([None, None, features])]
        )
        self.encode_sentences = tf.function(
            model.encode_sentences, input_signature=[tf.TensorSpec([None, None], tf.int32)]
        )
        regions = tf.TensorSpec([None, None, dim], model.region_encoder.compute_dtype)
        words = tf.TensorSpec([None, None, dim], model.sentence_encoder.compute_dtype)
        mask = tf.TensorSpec([None, None], tf.bool)
        self._score = tf.function(
            model.score_embeddings, input_signature=[regions, words, mask, mask]
        )
        self._corrects = hubness is not None
        if hubness is not None:
            self._of_images, self._of_sentences = (
                tf.function(
                    functools.partial(function, chunk_size=hubness.images_at_a_time),
                    input_signature=[embeddings, mask],
                )
                for function, embeddings in (
                    (hubness.of_images, regions),
                    (hubness.of_sentences, words),
                )
            )

    def __call__(self, cache: FeatureCache, token_ids: tf.RaggedTensor) -> np.ndarray:
        """Scores the I images of a cache with S sentences.

        Args:
            cache: Regions of the images.
            token_ids: Words of the sentences, int32 [S, (T)].

        Returns:
            Scores, float32 [I, S].
        """
        images = [
            (
                self.encode_regions(tf.constant(regions.region_features[:, self._used])),
                tf.constant(regions.region_mask[:, self._used]),
            )
            for _, regions in cache.batches(_IMAGES_AT_A_TIME)
        ]
        return self.of_blocks(images, token_ids)

    def of_blocks(
        self,
        images: Sequence[Block],
        token_ids: tf.RaggedTensor,
        image_hubness: np.ndarray | None = None,
    ) -> np.ndarray:
        """Scores images whose region embeddings and masks are known, in blocks.

        Args:
            images: All blocks of images.
            token_ids: Words of the sentences, int32 [S, (T)].
            image_hubness: What `image_hubness` returns for the images, if it is known.

        Returns:
            Scores, float32 [I, S].
        """
        count = int(token_ids.shape[0])
        sentence_hubness = [np.zeros(0, np.float32)]

        def sentences() -> Iterator[Block]:
            for rows in _slices(count, _SENTENCES_AT_A_TIME):
                ids = token_ids[rows].to_tensor(PAD_ID)
                words, mask = self.encode_sentences(ids), tf.not_equal(ids, PAD_ID)
                if self._corrects:
                    sentence_hubness.append(self._of_sentences(words, mask).numpy())
                yield words, mask

        scores = score_blocks(self._score, images, sentences(), count)
        if self._corrects:
            if image_hubness is None:
                image_hubness = np.concatenate([self.image_hubness(*block) for block in images])
            scores -= image_hubness[:, np.newaxis]
            scores -= np.concatenate(sentence_hubness)
        return scores

    def image_hubness(self, embeddings: tf.Tensor, mask: tf.Tensor) -> np.ndarray:
        """Returns what is subtracted from the scores of images with all sentences.

        Args:
            embeddings: Region embeddings, float [B, R, D].
            mask: bool [B, R], True for real regions.

        Returns:
            float32 [B], zeros if nothing is subtracted.
        """
        if not self._corrects:
            return np.zeros(len(mask), np.float32)
        return np.asarray(self._of_images(embeddings, mask))


def score_vectors(vectors: Vectors) -> np.ndarray:
    """Scores the embeddings of a file by the score of section 3.1.3.

    Args:
        vectors: Checked contents of the file: embeddings, or scores.

    Returns:
        Scores, float [I, S].
    """
    if vectors.scores is not None:
        return vectors.scores
    regions, words = vectors.region_embeddings, vectors.word_embeddings
    assert regions is not None
    assert words is not None
    return score_blocks(
        tf.function(alignment_scores, reduce_retracing=True),
        list(_blocks(regions, vectors.region_mask, _IMAGES_AT_A_TIME)),
        _blocks(words, vectors.word_mask, _SENTENCES_AT_A_TIME),
        len(words),
    )


def _slices(count: int, size: int) -> Iterable[slice]:
    return (slice(start, start + size) for start in range(0, count, size))


def _blocks(embeddings: np.ndarray, mask: np.ndarray | None, size: int) -> Iterable[Block]:
    assert mask is not None
    for rows in _slices(len(embeddings), size):
        yield tf.constant(embeddings[rows]), tf.constant(mask[rows])


def read_hubness(
    path: Path, scale: float, model: AlignmentModel, *, whole_frame: bool = False
) -> Hubness:
    """Reads the bank of a run for computing hubness.

    Args:
        path: File that the stage align wrote.
        scale: `infer.hubness_scale`.
        model: Alignment model of the run.
        whole_frame: Whether only region 0, the whole frame, of every image is used.

    Raises:
        UserError: The file is damaged, or does not fit the model.
    """
    try:
        arrays = read_arrays(path)
        arrays = {
            name: array.astype(np.float32) if array.dtype.kind == "f" else array
            for name, array in arrays.items()
        }
        bank = Bank(*(arrays[name] for name in Bank._fields))
        check_bank(bank, model.region_encoder.embedding_dim)
        if whole_frame:
            bank = bank._replace(regions=bank.regions[:, :1], region_mask=bank.region_mask[:, :1])
        return Hubness(bank, scale, model.score, model.normalise_by_length)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{path} cannot be used ({reason_of(error)}); delete it, and run the stage align again"
        ) from error


def recalls(scores: np.ndarray, image_index: np.ndarray) -> dict[str, float]:
    """Computes the metrics by which the alignment is validated.

    Args:
        scores: Scores of all images with all sentences, float [I, S].
        image_index: Position of the image of every sentence, int [S].

    Returns:
        "image_annotation_r1" to "image_search_r10" in percent, and "recall_sum" of these six.
    """
    ranking = ranking_metrics(scores, image_index)
    figures = {
        f"{direction}_{name}": ranking[direction][name]
        for direction in ("image_annotation", "image_search")
        for name in ("r1", "r5", "r10")
    }
    return {**figures, "recall_sum": sum(figures.values())}
