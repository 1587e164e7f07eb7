"""Descriptions of many feature vectors: batches through the decoder, ids to text."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from visem_tf.config import GenerateConfig
from visem_tf.decoding import beam_search, greedy_search
from visem_tf.models.caption_generator import CaptionGenerator
from visem_tf.text import Vocabulary

_VECTORS_AT_A_TIME = 128


class Describer:
    """Writes descriptions with one generator.

    Args:
      generator: A trained model.
      vocabulary: Its words.
      settings: Length, normalisation and unknown words of the search.
      beam_size: Beams; 1 is greedy search.
    """

    def __init__(
        self,
        generator: CaptionGenerator,
        vocabulary: Vocabulary,
        settings: GenerateConfig,
        beam_size: int,
    ) -> None:
        self.vocabulary = vocabulary
        self._search = _compiled_search(generator, settings, beam_size)

    def __call__(self, image_features: np.ndarray) -> tuple[list[str], np.ndarray]:
        """Describes vectors, each by its best sentence.

        Args:
          image_features: float [N, F].

        Returns:
          N texts, and their log-probabilities float32 [N].
        """
        texts: list[str] = []
        log_probs = []
        for start in range(0, len(image_features), _VECTORS_AT_A_TIME):
            block = tf.constant(image_features[start : start + _VECTORS_AT_A_TIME])
            token_ids, block_log_probs = self._search(block)
            texts.extend(text.decode() for text in self.vocabulary.decode(token_ids).numpy())
            log_probs.append(block_log_probs.numpy())
        return texts, np.concatenate(log_probs) if log_probs else np.zeros(0, np.float32)


def search_sentences(
    generator: CaptionGenerator,
    image_features: tf.Tensor,
    settings: GenerateConfig,
    beam_size: int,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Searches for sentences as the configuration says, in graph.

    Args:
      generator: A trained model.
      image_features: float [B, F].
      settings: Length, normalisation and unknown words of the search.
      beam_size: K; 1 is greedy search.

    Returns:
      token_ids int32 [B, K, L] and log_probs float32 [B, K], best first.
    """
    if beam_size == 1:
        token_ids, log_probs = greedy_search(
            generator, image_features, settings.max_length, allow_unknown=settings.allow_unknown
        )
        return token_ids[:, tf.newaxis], log_probs[:, tf.newaxis]
    return beam_search(
        generator,
        image_features,
        beam_size,
        settings.max_length,
        length_normalisation=settings.length_normalisation,
        allow_unknown=settings.allow_unknown,
    )


def _compiled_search(
    generator: CaptionGenerator, settings: GenerateConfig, beam_size: int
) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    feature_dim = generator.image_projection.kernel.shape[0]

    @tf.function(input_signature=[tf.TensorSpec([None, feature_dim], tf.float32)])
    def search(image_features: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        token_ids, log_probs = search_sentences(generator, image_features, settings, beam_size)
        return token_ids[:, 0], log_probs[:, 0]

    return search
