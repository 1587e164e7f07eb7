"""Training on a generator's own words, now and then (Bengio and others, 2015).

In training the words before a target are people's, in decoding the model's. Scheduled sampling
replaces some of the former by words that the model would have said, more of them as training goes
on. The recurrence stays parallel over a batch, in two passes (Mihaylova and Martins, 2019): the
first, without gradient, says what the model would say in every place; the second is trained on the
mixture.
"""

from typing import Any

import keras
import tensorflow as tf

from visem_tf.text import END_ID, PAD_ID, START_ID, UNK_ID


@keras.saving.register_keras_serializable(package="visem_tf")
class ScheduledSampling(keras.layers.Layer):
    """Mixes words that a model would have said into sentences.

    Args:
      rate: share of the words that are replaced in the end, in [0, 1).
      ramp_steps: steps of the optimizer in which the share rises from 0, linearly.

    Example:
        >>> ScheduledSampling(0.3, ramp_steps=100).rate_at(50).numpy()
        np.float32(0.15)
    """

    def __init__(self, rate: float, ramp_steps: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not 0 <= rate < 1:
            raise ValueError(f"scheduled_sampling must be in [0, 1), got {rate}")
        self.rate = rate
        self.ramp_steps = ramp_steps
        if rate > 0:
            self.seed_generator = keras.random.SeedGenerator()
        self.built = True

    def rate_at(self, step: tf.Tensor | int) -> tf.Tensor:
        """The share of words that are replaced after so many steps."""
        share = tf.cast(step, tf.float32) / max(self.ramp_steps, 1)
        return self.rate * (tf.minimum(share, 1.0) if self.ramp_steps else 1.0)

    def call(
        self, words: tf.Tensor, places: tf.Tensor, logits: tf.Tensor, step: tf.Tensor | int
    ) -> tf.Tensor:
        """Replaces some words; START, and words whose place the model would END in, stay.

        Args:
          words: int32 [T, B], START first.
          places: int64 [M, 2], step and sentence of every target; the word in the next step is its.
          logits: float [M, V], of the words in these places.
          step: how many steps the optimizer has taken.

        Returns:
          int32 [T, B].
        """
        word = tf.range(tf.shape(logits)[-1])
        never = tf.reduce_any(tf.equal(word[:, tf.newaxis], [PAD_ID, START_ID, UNK_ID]), axis=1)
        logits = tf.where(never, tf.constant(-1e9, logits.dtype), logits)
        seeds = [
            tf.bitcast(tf.cast(self.seed_generator.next(), tf.uint32), tf.int32) for _ in range(2)
        ]
        said = tf.random.stateless_categorical(logits, 1, seed=seeds[0], dtype=tf.int32)[:, 0]
        said = tf.scatter_nd(
            places, said, tf.shape(words, tf.int64)
        )  # PAD where there is no target
        said = tf.pad(said[:-1], [[1, 0], [0, 0]])  # under the word that people said
        drawn = tf.random.stateless_uniform(tf.shape(words), seed=seeds[1])
        replaced = tf.logical_and(drawn < self.rate_at(step), said != PAD_ID)
        return tf.where(tf.logical_and(replaced, said != END_ID), said, words)

    def get_config(self) -> dict[str, Any]:
        """The arguments, for `from_config`."""
        return {**super().get_config(), "rate": self.rate, "ramp_steps": self.ramp_steps}
