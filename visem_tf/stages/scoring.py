"""Scores of all pictures of a split with all its sentences: for validation and for ranking."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from visem_tf.metrics.ranking import ranking_metrics
from visem_tf.models.alignment_model import AlignmentModel
from visem_tf.regions.cache import FeatureCache
from visem_tf.text import PAD_ID, Vocabulary

_IMAGES_AT_A_TIME = 100
_SENTENCES_AT_A_TIME = 500


def sentence_token_ids(
    vocabulary: Vocabulary, sentences: Sequence[str], max_words: int
) -> tf.RaggedTensor:
    """The token ids of sentences, cut to `max_words`, int32 [S, (T)]."""
    return vocabulary.encode(tf.constant(list(sentences), tf.string))[:, :max_words]


class Scorer:
    """Scores every picture of a split with every sentence, a block at a time.

    Args:
      model: Embeds and scores; its weights may change between calls.
      num_regions: R of the caches to come.
      feature_dim: F of the caches to come.
    """

    def __init__(self, model: AlignmentModel, num_regions: int, feature_dim: int) -> None:
        dim = model.region_encoder.embedding_dim
        self._encode_regions = tf.function(
            model.encode_regions, input_signature=[tf.TensorSpec([None, num_regions, feature_dim])]
        )
        self._encode_sentences = tf.function(
            model.encode_sentences, input_signature=[tf.TensorSpec([None, None], tf.int32)]
        )
        self._score = tf.function(
            model.score_embeddings,
            input_signature=[
                tf.TensorSpec([None, num_regions, dim]),
                tf.TensorSpec([None, None, dim]),
                tf.TensorSpec([None, num_regions], tf.bool),
                tf.TensorSpec([None, None], tf.bool),
            ],
        )

    def __call__(self, cache: FeatureCache, token_ids: tf.RaggedTensor) -> np.ndarray:
        """Scores the I pictures of a cache with S sentences.

        Args:
          cache: The pictures' regions.
          token_ids: int32 [S, (T)].

        Returns:
          float32 [I, S].
        """
        sentences = []
        for start in range(0, token_ids.shape[0], _SENTENCES_AT_A_TIME):
            block = token_ids[start : start + _SENTENCES_AT_A_TIME].to_tensor(PAD_ID)
            sentences.append((self._encode_sentences(block), tf.not_equal(block, PAD_ID)))
        rows = []
        for _, regions in cache.batches(_IMAGES_AT_A_TIME):
            embeddings = self._encode_regions(tf.constant(regions.region_features))
            mask = tf.constant(regions.region_mask)
            scores = [self._score(embeddings, words, mask, real) for words, real in sentences]
            rows.append(np.concatenate(scores, axis=1))
        return np.concatenate(rows)


def recalls(scores: np.ndarray, image_index: np.ndarray) -> dict[str, float]:
    """Validation of the alignment: recalls of both directions, and their sum.

    Args:
      scores: float [I, S].
      image_index: int [S], the picture of every sentence.

    Returns:
      "image_annotation_r1" … "image_search_r10" in percent, and "recall_sum" of these six.
    """
    ranking = ranking_metrics(scores, image_index)
    figures = {
        f"{direction}_{name}": ranking[direction][name]
        for direction in ("image_annotation", "image_search")
        for name in ("r1", "r5", "r10")
    }
    return {**figures, "recall_sum": sum(figures.values())}
