"""Captions of many images or regions: batches of features to texts."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import tensorflow as tf

from visem_tf.config import GenerateConfig
from visem_tf.decoding.beam import beam_search
from visem_tf.decoding.common import CaptioningModel
from visem_tf.decoding.ensemble import EnsembleModel
from visem_tf.decoding.greedy import greedy_search
from visem_tf.decoding.reranking import RerankedModel
from visem_tf.models.attention_generator import AttentionGenerator
from visem_tf.regions.dataset_cache import FeatureCache
from visem_tf.runtime.progress import progress_bar
from visem_tf.text import PAD_ID, START_ID, Vocabulary

_BATCH_SIZE = 128

Captions = tuple[list[str], np.ndarray]
"""N texts, and their log-probabilities as a float32 array [N]."""


class Captioner:
    """Writes captions with one generator: the best sentence that a search finds.

    Args:
        generator: Trained model.
        vocabulary: Vocabulary of the model.
        settings: Length, length normalisation, blocked words and n-grams of the search.
        beam_size: Number of beams; 1 is greedy search.
    """

    def __init__(
        self,
        generator: CaptioningModel,
        vocabulary: Vocabulary,
        settings: GenerateConfig,
        beam_size: int,
    ) -> None:
        @tf.function(input_signature=[generator.input_specs()])
        def search(image_features: Any) -> tuple[tf.Tensor, tf.Tensor]:
            token_ids, log_probs = search_sentences(
                generator, image_features, vocabulary, settings, beam_size
            )
            return token_ids[:, 0], log_probs[:, 0]

        self.generator = generator
        self.vocabulary = vocabulary
        self._search = search

    def __call__(self, features: np.ndarray) -> Captions:
        """Describes single vectors; a generator that reads regions gets one region per image.

        Args:
            features: Float array [N, F].
        """
        regions = np.asarray(features)[:, np.newaxis]
        return self.describe_images(regions, np.ones(regions.shape[:2], bool))

    def describe_images(self, region_features: np.ndarray, region_mask: np.ndarray) -> Captions:
        """Describes whole images.

        Args:
            region_features: Float array [N, R, F]; region 0 is the whole frame.
            region_mask: Boolean array [N, R], True for real regions.
        """
        count = len(region_features)
        batches = (slice(start, start + _BATCH_SIZE) for start in range(0, count, _BATCH_SIZE))
        return self._describe(
            ((region_features[rows], region_mask[rows]) for rows in batches), count
        )

    def describe_cache(self, cache: FeatureCache) -> Captions:
        """Describes all images of a cache, which is read batch by batch."""
        if not self.generator.reads_regions:
            return self(cache.frame_features())
        batches = (regions for _, regions in cache.batches(_BATCH_SIZE))
        return self._describe(((r.region_features, r.region_mask) for r in batches), len(cache))

    def _describe(self, batches: Iterable[tuple[np.ndarray, np.ndarray]], count: int) -> Captions:
        texts: list[str] = []
        log_probs = [np.zeros(0, np.float32)]
        with progress_bar(count, "write texts", "texts", delay=2) as bar:
            for features, mask in batches:
                inputs = self.generator.inputs_of_images(features, mask)
                token_ids, found = self._search(tf.nest.map_structure(tf.constant, inputs))
                texts.extend(text.decode() for text in self.vocabulary.decode(token_ids).numpy())
                log_probs.append(found.numpy())
                bar.update(len(features))
        return texts, np.concatenate(log_probs)


def search_sentences(
    generator: CaptioningModel,
    image_features: Any,
    vocabulary: Vocabulary,
    settings: GenerateConfig,
    beam_size: int,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Searches for sentences as the configuration says, in graph.

    Args:
        generator: Trained model.
        image_features: Float tensor [B, F], or what else the generator takes.
        vocabulary: Vocabulary of the model.
        settings: Length, length normalisation, blocked words and n-grams of the search.
        beam_size: K; 1 is greedy search.

    Returns:
        token_ids: Int32 tensor [B, K, L], best first.
        log_probs: Float32 tensor [B, K].
    """
    options: dict[str, Any] = {
        "allow_unknown": settings.allow_unknown,
        "block_ngrams": settings.block_ngrams,
        "block_words": vocabulary.content_words() if settings.block_content_words else None,
    }
    if beam_size == 1:
        token_ids, log_probs = greedy_search(
            generator, image_features, settings.max_length, **options
        )
        return token_ids[:, tf.newaxis], log_probs[:, tf.newaxis]
    token_ids, log_probs = beam_search(
        generator,
        image_features,
        beam_size,
        settings.max_length,
        length_normalisation=settings.length_normalisation,
        **options,
    )
    if isinstance(generator, RerankedModel):
        return generator.rank(image_features, token_ids, log_probs, settings.length_normalisation)
    return token_ids, log_probs


def attending_member(generator: CaptioningModel) -> AttentionGenerator | None:
    """Returns the generator if it attends to regions, or the first member of an ensemble that does.

    None if there is none.
    """
    members = generator.members if isinstance(generator, EnsembleModel) else [generator]
    return next((member for member in members if isinstance(member, AttentionGenerator)), None)


def word_attention(
    generator: CaptioningModel,
    vocabulary: Vocabulary,
    texts: list[str],
    region_features: np.ndarray,
    region_mask: np.ndarray,
) -> list[np.ndarray] | None:
    """Computes the attention weights of every word of captions that a generator wrote.

    Args:
        generator: Generator that wrote the captions; see `attending_member`.
        vocabulary: Vocabulary of the generator.
        texts: N captions.
        region_features: Float array [N, R, F] of the images.
        region_mask: Boolean array [N, R], True for real regions.

    Returns:
        N float arrays [words, R], in which the weights of a word sum to 1; None if the generator
        does not attend to regions.
    """
    attending = attending_member(generator)
    if attending is None:
        return None
    words = vocabulary.lookup(tf.strings.split(tf.constant(texts, tf.string)))
    starts = tf.fill([len(texts), 1], START_ID)
    inputs = {
        **attending.inputs_of_images(tf.constant(region_features), tf.constant(region_mask)),
        "token_ids": tf.concat([starts, words.to_tensor(PAD_ID)], axis=1),
    }
    weights = attending.attention(inputs).numpy()
    lengths = words.row_lengths().numpy()
    return [of_text[:length] for of_text, length in zip(weights, lengths, strict=True)]
