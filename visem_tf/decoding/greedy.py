"""Greedy search: the most probable word at every step."""

from typing import Any

import tensorflow as tf
from numpy.typing import ArrayLike

from visem_tf.decoding.common import StepwiseModel, check_limits, write_sentences


def greedy_search(
    generator: StepwiseModel,
    image_features: Any,
    max_length: int = 20,
    *,
    allow_unknown: bool = False,
    block_ngrams: int = 0,
    block_words: ArrayLike | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Writes a sentence for every image by taking the most probable word at every step.

    Runs in graph, for any batch size; the loop ends when all sentences have ended. PAD and START
    are never produced.

    Args:
        generator: Model with `initial_state` and `step`, such as `CaptionGenerator`.
        image_features: Float tensor [B, F], or what else the generator's `initial_state` takes.
        max_length: L, the largest number of tokens, END counted.
        allow_unknown: Whether UNK may be produced.
        block_ngrams: Length n of the n-grams that a sentence may not repeat; 0 allows all.
        block_words: Words that a sentence may not use twice, bool [V]; None allows all.

    Returns:
        token_ids: Int32 tensor [B, L]: the words, END, then PAD; without END where L tokens were
            not enough.
        log_probs: Float32 tensor [B], the sums of the log-probabilities of these tokens, END
            counted.

    Raises:
        ValueError: If `max_length` is below 1, or `block_ngrams` below 0.

    Example:
        >>> from visem_tf.models.caption_generator import CaptionGenerator
        >>> generator = CaptionGenerator(vocabulary_size=10, hidden_dim=8, word_dim=6)
        >>> token_ids, log_probs = greedy_search(generator, tf.zeros([2, 5]), max_length=7)
        >>> tuple(token_ids.shape), tuple(log_probs.shape)
        ((2, 7), (2,))
    """
    check_limits(block_ngrams, max_length=max_length)
    return write_sentences(
        generator,
        image_features,
        max_length,
        lambda log_probs, t: tf.argmax(log_probs, axis=-1, output_type=tf.int32),
        allow_unknown=allow_unknown,
        block_ngrams=block_ngrams,
        block_words=block_words,
    )
