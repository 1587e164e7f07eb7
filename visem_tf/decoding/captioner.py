"""Descriptions of many pictures or regions: batches through the decoder, ids to text."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import tensorflow as tf
import tqdm

from visem_tf.config import GenerateConfig
from visem_tf.decoding import EnsembleModel, PictureModel, beam_search, greedy_search
from visem_tf.models.attention_generator import AttentionGenerator
from visem_tf.regions.dataset_cache import FeatureCache
from visem_tf.text import PAD_ID, START_ID, Vocabulary

_PICTURES_AT_A_TIME = 128

Descriptions = tuple[list[str], np.ndarray]
"""N texts, and their log-probabilities float32 [N]."""


class Describer:
    """Writes descriptions with one generator, each the best sentence of a search.

    Args:
      generator: A trained model.
      vocabulary: Its words.
      settings: Length, normalisation, blocking and unknown words of the search.
      beam_size: Beams; 1 is greedy search.
    """

    def __init__(
        self,
        generator: PictureModel,
        vocabulary: Vocabulary,
        settings: GenerateConfig,
        beam_size: int,
    ) -> None:
        self.generator = generator
        self.vocabulary = vocabulary
        self._search = _compiled_search(generator, settings, beam_size)

    def __call__(self, image_features: np.ndarray) -> Descriptions:
        """Describes vectors; a generator that reads regions sees pictures with one region.

        Args:
          image_features: float [N, F].
        """
        alone = np.asarray(image_features)[:, np.newaxis]
        return self.of_pictures(alone, np.ones(alone.shape[:2], bool))

    def of_pictures(self, region_features: np.ndarray, region_mask: np.ndarray) -> Descriptions:
        """Describes whole pictures.

        Args:
          region_features: float [N, R, F]; region 0 is the whole frame.
          region_mask: bool [N, R], True = real.
        """
        blocks = range(0, len(region_features), _PICTURES_AT_A_TIME)
        return self._describe(
            (
                (region_features[start:stop], region_mask[start:stop])
                for start, stop in ((start, start + _PICTURES_AT_A_TIME) for start in blocks)
            ),
            len(region_features),
        )

    def of_cache(self, cache: FeatureCache) -> Descriptions:
        """Describes all pictures of a cache, which is read block by block."""
        if not self.generator.reads_regions:
            return self(cache.frame_features())
        return self._describe(
            (
                (regions.region_features, regions.region_mask)
                for _, regions in cache.batches(_PICTURES_AT_A_TIME)
            ),
            len(cache),
        )

    def _describe(
        self, blocks: Iterable[tuple[np.ndarray, np.ndarray]], count: int
    ) -> Descriptions:
        texts: list[str] = []
        log_probs = [np.zeros(0, np.float32)]
        with tqdm.tqdm(total=count, desc="write texts", disable=None, leave=False, delay=2) as bar:
            for features, mask in blocks:
                inputs = self.generator.inputs_of_pictures(features, mask)
                token_ids, found = self._search(tf.nest.map_structure(tf.constant, inputs))
                texts.extend(text.decode() for text in self.vocabulary.decode(token_ids).numpy())
                log_probs.append(found.numpy())
                bar.update(len(features))
        return texts, np.concatenate(log_probs)


def search_sentences(
    generator: PictureModel, image_features: Any, settings: GenerateConfig, beam_size: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """Searches for sentences as the configuration says, in graph.

    Args:
      generator: A trained model.
      image_features: float [B, F], or what else the generator takes of pictures.
      settings: Length, normalisation, blocking and unknown words of the search.
      beam_size: K; 1 is greedy search.

    Returns:
      token_ids int32 [B, K, L] and log_probs float32 [B, K], best first.
    """
    if beam_size == 1:
        token_ids, log_probs = greedy_search(
            generator,
            image_features,
            settings.max_length,
            allow_unknown=settings.allow_unknown,
            block_ngrams=settings.block_ngrams,
        )
        return token_ids[:, tf.newaxis], log_probs[:, tf.newaxis]
    return beam_search(
        generator,
        image_features,
        beam_size,
        settings.max_length,
        length_normalisation=settings.length_normalisation,
        allow_unknown=settings.allow_unknown,
        block_ngrams=settings.block_ngrams,
    )


def word_attention(
    generator: PictureModel,
    vocabulary: Vocabulary,
    texts: list[str],
    region_features: np.ndarray,
    region_mask: np.ndarray,
) -> list[np.ndarray] | None:
    """What a generator looked at for every word of the descriptions that it wrote.

    Args:
      generator: That wrote them; of an ensemble the first member that attends.
      vocabulary: Its words.
      texts: N descriptions.
      region_features: float [N, R, F], of the pictures that they describe.
      region_mask: bool [N, R], True = real.

    Returns:
      N arrays float [words, R], in which a word's weights sum to 1; None if the generator does not
      look at regions.
    """
    members = generator.members if isinstance(generator, EnsembleModel) else [generator]
    attending = [member for member in members if isinstance(member, AttentionGenerator)]
    if not attending:
        return None
    words = vocabulary.lookup(tf.strings.split(tf.constant(texts, tf.string)))
    lengths = words.row_lengths().numpy()
    inputs = {
        **attending[0].inputs_of_pictures(tf.constant(region_features), tf.constant(region_mask)),
        "token_ids": tf.concat(
            [
                tf.fill([len(texts), 1], START_ID),
                words.to_tensor(PAD_ID),
            ],
            axis=1,
        ),
    }
    weights = attending[0].attention(inputs).numpy()
    return [of_text[:length] for of_text, length in zip(weights, lengths, strict=True)]


def _compiled_search(
    generator: PictureModel, settings: GenerateConfig, beam_size: int
) -> Callable[[Any], tuple[tf.Tensor, tf.Tensor]]:
    @tf.function(input_signature=[generator.input_specs()])
    def search(image_features: Any) -> tuple[tf.Tensor, tf.Tensor]:
        token_ids, log_probs = search_sentences(generator, image_features, settings, beam_size)
        return token_ids[:, 0], log_probs[:, 0]

    return search
