"""Small layers and metrics that several models share."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from visem_tf.alignment.scores import unit_vectors
from visem_tf.text import START_ID, UNK_ID


@keras.saving.register_keras_serializable(package="visem_tf")
class FeatureScale(keras.layers.Layer):
    """Scales feature vectors to a given Euclidean length.

    A region of sky activates the CNN less than a region of a dog, by a factor that carries little
    information. With equal lengths, regions compete by direction. Since no CNN feature is negative,
    all directions are similar at first; `adapt` subtracts their mean.

    Args:
        scale: Length of the output vectors. 0 leaves the vectors unchanged.

    Example:
        >>> FeatureScale(10.0)(tf.constant([[3.0, 4.0]])).numpy()
        array([[6., 8.]], dtype=float32)
    """

    def __init__(self, scale: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if scale < 0:
            raise ValueError(f"scale must be at least 0, not {scale!r}")
        self.scale = scale

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Creates the centre, initially the origin. It is not trained."""
        if self.scale:
            self.centre = self.add_weight(
                name="centre", shape=(input_shape[-1],), initializer="zeros", trainable=False
            )
        self.built = True

    def adapt(self, features: np.ndarray) -> None:
        """Sets the centre to the mean direction of features.

        Args:
            features: Sample of the training features, float array [N, F].
        """
        if not self.built:
            self.build(np.shape(features))
        if self.scale:
            lengths = np.sqrt(np.sum(np.square(features), axis=-1, keepdims=True) + 1e-12)
            self.centre.assign(np.mean(features / lengths, axis=0))

    def call(self, features: tf.Tensor) -> tf.Tensor:
        """Scales a float tensor [..., F]. A vector that is zero after centring stays zero."""
        if not self.scale:
            return features
        return self.scale * unit_vectors(
            unit_vectors(features) - tf.cast(self.centre, features.dtype)
        )

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns the shape of the input."""
        return input_shape


@keras.saving.register_keras_serializable(package="visem_tf")
class Perplexity(keras.metrics.Mean):
    """Exponential of the mean negative log-likelihood of a word. `<unk>` counts as a word."""

    def result(self) -> Any:
        """Returns the perplexity so far, a scalar."""
        return keras.ops.exp(super().result())


@keras.saving.register_keras_serializable(package="visem_tf")
class WordDropout(keras.layers.Layer):
    """Replaces words by UNK in training, except START (word dropout, Bowman et al., 2016).

    Args:
        rate: Share of the words that are replaced, in [0, 1).

    Example:
        >>> WordDropout(0.5)(tf.constant([1, 7, 8])).numpy()  # not in training
        array([1, 7, 8], dtype=int32)
    """

    def __init__(self, rate: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not 0 <= rate < 1:
            raise ValueError(f"word_dropout must be in [0, 1), not {rate}")
        self.rate = rate
        if rate > 0:
            self.seed_generator = keras.random.SeedGenerator()
        self.built = True

    def call(self, token_ids: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Replaces some of the token ids, an int32 tensor of any shape."""
        if not training or not self.rate:
            return token_ids
        uniform = keras.random.uniform(tf.shape(token_ids), seed=self.seed_generator)
        replaced = tf.logical_and(uniform < self.rate, token_ids != START_ID)
        return tf.where(replaced, UNK_ID, token_ids)
