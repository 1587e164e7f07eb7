"""The snippets that the region-level generator learns from, for every stage that needs them."""

import numpy as np
import tensorflow as tf

from visem_tf.alignment.nouns import noun_shares
from visem_tf.alignment.snippets import Snippets, find_snippets
from visem_tf.config import InferConfig
from visem_tf.errors import UserError
from visem_tf.runs.grounding import WordGrounding
from visem_tf.text import DETERMINERS, FUNCTION_WORDS, NUMERALS, PAD_ID, Vocabulary


class SnippetCutter:
    """Cuts aligned sentences into snippets as the section infer of the configuration says.

    Args:
        vocabulary: Vocabulary of the run.
        settings: The section.
        training_ids: Words of the training sentences, int32 [S, (T)], which show what words are
            nouns.
    """

    def __init__(
        self, vocabulary: Vocabulary, settings: InferConfig, training_ids: tf.RaggedTensor
    ) -> None:
        self.settings = settings
        self.is_function = vocabulary.among(FUNCTION_WORDS)
        self.is_determiner = vocabulary.among(DETERMINERS)
        self.may_end = ~self.is_function
        if settings.noun_share:
            opens = self.is_determiner | vocabulary.among(NUMERALS)
            words = training_ids.to_tensor(PAD_ID).numpy()
            is_noun = noun_shares(words, opens, self.is_function) >= settings.noun_share
            if is_noun.any():  # not in other languages than English
                self.may_end = is_noun

    def __call__(self, found: WordGrounding, token_ids: tf.RaggedTensor) -> Snippets:
        """Returns the snippets of S sentences.

        Args:
            found: Regions of their words.
            token_ids: Words of the sentences, int32 [S, (T)].
        """
        words, settings = token_ids.to_tensor(PAD_ID).numpy(), self.settings
        is_function = self.is_function[words]
        may_begin = may_end = begins_phrase = None
        if settings.trim:
            may_begin = ~is_function | self.is_determiner[words]
            may_end = self.may_end[words]
        if settings.split:
            after_other = np.pad(~is_function, [[0, 0], [1, 0]])[:, :-1]
            begins_phrase = is_function & after_other
        return find_snippets(
            found.regions,
            found.scores,
            may_begin=may_begin,
            may_end=may_end,
            begins_phrase=begins_phrase,
            min_words=settings.min_words,
            keep=settings.keep,
        )


def require_snippets(snippets: Snippets) -> None:
    """Checks that there is something to learn from.

    Raises:
        UserError: There are no snippets.
    """
    if not len(snippets.sentence):
        raise UserError(
            "no snippets remain of the sentences; lower infer.min_words and infer.noun_share, or "
            "set infer.trim false"
        )
