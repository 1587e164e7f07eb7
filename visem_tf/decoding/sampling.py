"""Sampling: every word is drawn from the distribution that the model gives."""

from typing import Any

import tensorflow as tf

from visem_tf.decoding.common import StepwiseModel, check_limits, write_sentences

_BLOCK = 64
_BELOW_ONE = 1 - 2**-23


def sample_sentences(
    generator: StepwiseModel,
    image_features: Any,
    random: tf.Tensor,
    *,
    temperature: float = 1.0,
    allow_unknown: bool = False,
) -> tf.Tensor:
    """Samples sentences for every image.

    Runs in graph, for any batch size; the loop ends when all sentences have ended. PAD and START
    are never drawn. A sentence depends on its image and its random numbers, not on the rest of the
    batch.

    Args:
        generator: Model with `initial_state` and `step`, such as `CaptionGenerator`.
        image_features: Float tensor [B, F], or what else the generator's `initial_state` takes.
        random: Float32 tensor [B, K, L] of uniform random numbers in [0, 1), one for each of at
            most L tokens, END counted, of each of K sentences of an image. K and L are static.
        temperature: The logarithms of the probabilities are divided by this, so that below 1
            probable words are drawn more often.
        allow_unknown: Whether UNK may be drawn.

    Returns:
        Int32 tensor [B, K, L]: the words, END, then PAD; without END where L tokens were not
        enough.

    Raises:
        ValueError: If K or L is below 1, or `temperature` is not above 0.

    Example:
        >>> from visem_tf.models.caption_generator import CaptionGenerator
        >>> generator = CaptionGenerator(vocabulary_size=10, hidden_dim=8, word_dim=6)
        >>> random = tf.random.uniform([2, 3, 7])
        >>> tuple(sample_sentences(generator, tf.zeros([2, 5]), random).shape)
        (2, 3, 7)
    """
    samples, max_length = random.shape[1:]
    check_limits(samples=samples, max_length=max_length)
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0, got {temperature}")
    by_step = tf.transpose(tf.reshape(random, [-1, max_length]))  # [L, B K]
    token_ids, _ = write_sentences(
        generator,
        image_features,
        max_length,
        lambda log_probs, t: draw_words(log_probs / temperature, by_step[t]),
        copies=samples,
        allow_unknown=allow_unknown,
    )
    return tf.reshape(token_ids, [-1, samples, max_length])


def draw_words(log_probs: tf.Tensor, random: tf.Tensor) -> tf.Tensor:
    """Draws a word from every row, by the inverse of its cumulative distribution.

    The vocabulary is cut into blocks: the sums of the blocks choose a block, and the words of this
    block are summed up one by one. This takes half of the time of `tf.random.categorical` on a CPU,
    whose draws also depend on the number of threads.

    Args:
        log_probs: Float tensor [N, V], which need not be normalised.
        random: Float32 tensor [N], uniform in [0, 1).

    Returns:
        Int32 tensor [N].

    Example:
        >>> log_probs = tf.math.log([[0.2, 0.5, 0.3]] * 3)
        >>> draw_words(log_probs, tf.constant([0.1, 0.6, 0.8])).numpy()
        array([0, 1, 2], dtype=int32)
    """
    rows, size = tf.unstack(tf.shape(log_probs))
    blocks = -(-size // _BLOCK)
    padded = tf.pad(tf.nn.softmax(log_probs), [[0, 0], [0, blocks * _BLOCK - size]])
    by_block = tf.reshape(padded, [rows, blocks, _BLOCK])
    block, share = _invert(tf.reduce_sum(by_block, axis=2), random)
    word, _ = _invert(tf.gather(by_block, block, batch_dims=1), share)
    return tf.minimum(block * _BLOCK + word, size - 1)


def _invert(weights: tf.Tensor, random: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Finds the entry that a share of the sum of each row [N, M] falls in, and its share of it.

    Rows that are not finite have some valid entry, so that a diverged training can be reported.
    """
    ends = tf.cumsum(weights, axis=1)
    target = random[:, tf.newaxis] * ends[:, -1:]
    place = tf.searchsorted(ends, target, side="right")
    place = tf.minimum(place, tf.shape(weights)[1] - 1)
    weight = tf.gather(weights, place, batch_dims=1)
    start = tf.gather(ends, place, batch_dims=1) - weight
    share = tf.clip_by_value((target - start) / weight, 0.0, _BELOW_ONE)
    return place[:, 0], share[:, 0]
