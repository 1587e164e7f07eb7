"""The likelihood of a word among a few others, for vocabularies too large to compare with all."""

from typing import Any

import keras
import tensorflow as tf


@keras.saving.register_keras_serializable(package="visem_tf")
class SampledSoftmax(keras.layers.Layer):
    """Negative log-likelihoods of words against words drawn by lot (Jean and others, 2015).

    Words are drawn by Zipf's law on their ids, P(k) = log((k + 2) / (k + 1)) / log(V + 1): a
    vocabulary is ordered by falling counts. The right word counts once and for itself, drawn or
    not. Every other's logit is lowered by the logarithm of how often its word is expected to be
    drawn, so that the sum over the drawn words is on average that over all words.

    Args:
      vocabulary_size: V.
      sampled_words: how many are drawn, for all targets of a batch together, with replacement.

    Example:
        >>> layer = SampledSoftmax(vocabulary_size=10, sampled_words=4)
        >>> hidden, ids = tf.ones([2, 3]), tf.constant([5, 6])
        >>> tuple(layer(hidden, ids, kernel=tf.ones([3, 10]), bias=tf.zeros([10])).shape)
        (2,)
    """

    def __init__(self, vocabulary_size: int, sampled_words: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not 0 < sampled_words < vocabulary_size:
            raise ValueError(
                f"sampled_words must be above 0 and below vocabulary_size {vocabulary_size}, "
                f"got {sampled_words}"
            )
        self.vocabulary_size = vocabulary_size
        self.sampled_words = sampled_words
        self.seed_generator = keras.random.SeedGenerator()
        self.built = True

    def call(
        self, hidden: tf.Tensor, ids: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor
    ) -> tf.Tensor:
        """Surprises of the right words.

        Args:
          hidden: what the output layer takes, float [M, H].
          ids: the right words, int [M].
          kernel: of the output layer, [H, V].
          bias: of the output layer, [V].

        Returns:
          float32 [M].
        """
        drawn = keras.random.uniform([self.sampled_words], seed=self.seed_generator)
        span = tf.math.log(self.vocabulary_size + 1.0)
        others = tf.cast(tf.exp(drawn * span), tf.int32) - 1
        others = tf.clip_by_value(others, 0, self.vocabulary_size - 1)
        right = tf.reduce_sum(self._rows(hidden, kernel, ids) * hidden, axis=1)
        right = tf.cast(right, tf.float32) + tf.gather(bias, ids)
        wrong = tf.matmul(hidden, self._rows(hidden, kernel, others), transpose_b=True)
        wrong = tf.cast(wrong, tf.float32) + tf.gather(bias, others) - self._expected(others)
        wrong = tf.where(tf.equal(others, ids[:, tf.newaxis]), -float("inf"), wrong)
        every = tf.reduce_logsumexp(tf.concat([right[:, tf.newaxis], wrong], axis=1), axis=1)
        return every - right

    def _rows(self, hidden: tf.Tensor, kernel: tf.Tensor, ids: tf.Tensor) -> tf.Tensor:
        """The output vectors of words, [n, H]."""
        return tf.cast(tf.transpose(tf.gather(kernel, ids, axis=1)), hidden.dtype)

    def _expected(self, ids: tf.Tensor) -> tf.Tensor:
        """The logarithm of how often words are drawn, on average."""
        place = tf.cast(ids, tf.float32)
        share = tf.math.log((place + 2) / (place + 1)) / tf.math.log(self.vocabulary_size + 1.0)
        return tf.math.log(self.sampled_words * share)

    def get_config(self) -> dict[str, Any]:
        """The arguments, for `from_config`."""
        return {
            **super().get_config(),
            "vocabulary_size": self.vocabulary_size,
            "sampled_words": self.sampled_words,
        }
