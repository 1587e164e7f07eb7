"""Sampling: every word is drawn from the distribution that the model gives."""

from typing import Any

import tensorflow as tf

from visem_tf.decoding.common import StepwiseModel, check_limits, write_sentences


def sample_sentences(
    generator: StepwiseModel,
    image_features: Any,
    samples: int,
    max_length: int = 20,
    *,
    seed: tf.Tensor,
    temperature: float = 1.0,
    allow_unknown: bool = False,
) -> tf.Tensor:
    """Samples sentences for every image.

    Runs in graph, for any batch size; the loop ends when all sentences have ended. PAD and START
    are never drawn.

    Args:
        generator: Model with `initial_state` and `step`, such as `CaptionGenerator`.
        image_features: Float tensor [B, F], or what else the generator's `initial_state` takes.
        samples: K, the number of sentences per image.
        max_length: L, the largest number of tokens, END counted.
        seed: Int32 tensor [2]; the same seed gives the same sentences.
        temperature: The logarithms of the probabilities are divided by this, so that below 1
            probable words are drawn more often.
        allow_unknown: Whether UNK may be drawn.

    Returns:
        Int32 tensor [B, K, L]: the words, END, then PAD; without END where L tokens were not
        enough.

    Raises:
        ValueError: If `samples` or `max_length` is below 1, or `temperature` is not above 0.

    Example:
        >>> from visem_tf.models.caption_generator import CaptionGenerator
        >>> generator = CaptionGenerator(vocabulary_size=10, hidden_dim=8, word_dim=6)
        >>> tuple(sample_sentences(generator, tf.zeros([2, 5]), 3, 7, seed=[0, 1]).shape)
        (2, 3, 7)
    """
    check_limits(samples=samples, max_length=max_length)
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0, got {temperature}")
    seed = tf.cast(seed, tf.int32)

    def draw(log_probs: tf.Tensor, t: tf.Tensor) -> tf.Tensor:
        step_seed = seed + tf.stack([0, t])
        logits = log_probs / temperature
        words = tf.random.stateless_categorical(logits, 1, seed=step_seed, dtype=tf.int32)
        return words[:, 0]

    token_ids, _ = write_sentences(
        generator, image_features, max_length, draw, copies=samples, allow_unknown=allow_unknown
    )
    return tf.reshape(token_ids, [-1, samples, max_length])
