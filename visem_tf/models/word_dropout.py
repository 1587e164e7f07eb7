"""Words that are hidden from a generator in training, so that it looks at the picture."""

from typing import Any

import keras
import tensorflow as tf

from visem_tf.text import START_ID, UNK_ID


@keras.saving.register_keras_serializable(package="visem_tf")
class WordDropout(keras.layers.Layer):
    """Replaces words by UNK (word dropout of Bowman and others, 2016); START stays.

    Args:
      rate: share of the words that are replaced, in [0, 1).

    Example:
        >>> WordDropout(0.5)(tf.constant([1, 7, 8])).numpy()  # not in training
        array([1, 7, 8], dtype=int32)
    """

    def __init__(self, rate: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not 0 <= rate < 1:
            raise ValueError(f"word_dropout must be in [0, 1), got {rate}")
        self.rate = rate
        if rate > 0:
            self.seed_generator = keras.random.SeedGenerator()
        self.built = True

    def call(self, token_ids: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Token ids int32 of any shape to the same shape."""
        if not training or not self.rate:
            return token_ids
        drawn = keras.random.uniform(tf.shape(token_ids), seed=self.seed_generator)
        replaced = tf.logical_and(drawn < self.rate, token_ids != START_ID)
        return tf.where(replaced, UNK_ID, token_ids)

    def get_config(self) -> dict[str, Any]:
        """The arguments, for `from_config`."""
        return {**super().get_config(), "rate": self.rate}
