"""The snippets that the region-level generator learns from, for every stage that needs them."""

import numpy as np
import tensorflow as tf

from visem_tf.alignment.snippets import Snippets, find_snippets
from visem_tf.errors import UserError
from visem_tf.regions.dataset_cache import FeatureCache
from visem_tf.runs.grounding import Grounder, Grounding
from visem_tf.text import DETERMINERS, FUNCTION_WORDS, PAD_ID


def ground_snippets(
    grounder: Grounder,
    cache: FeatureCache,
    token_ids: tf.RaggedTensor,
    image_index: np.ndarray,
) -> tuple[Grounding, Snippets]:
    """Finds the regions of the words of S sentences, and their snippets by the section infer.

    Args:
        grounder: Grounder of the run.
        cache: Regions of the split.
        token_ids: Words of the sentences, int32 [S, (T)].
        image_index: Position of the image of every sentence, int [S].
    """
    found = grounder.ground_split(cache, token_ids, image_index)
    settings, words = grounder.config.infer, token_ids.to_tensor(PAD_ID).numpy()
    snippets = find_snippets(
        found.regions,
        found.scores,
        grounder.vocabulary.among(FUNCTION_WORDS)[words],
        grounder.vocabulary.among(DETERMINERS)[words],
        split=settings.split,
        trim=settings.trim,
        min_words=settings.min_words,
        keep=settings.keep,
    )
    return found, snippets


def training_snippets(
    grounder: Grounder,
    cache: FeatureCache,
    token_ids: tf.RaggedTensor,
    image_index: np.ndarray,
) -> tuple[Grounding, Snippets]:
    """Returns what `ground_snippets` does, for a generator that has to learn from it.

    Raises:
        UserError: There are no snippets.
    """
    found, snippets = ground_snippets(grounder, cache, token_ids, image_index)
    if not len(snippets.sentence):
        raise UserError(
            f"no snippet has infer.min_words {grounder.config.infer.min_words} words; lower it, or "
            "leave infer.trim out"
        )
    return found, snippets
