"""Brings CNN features to one centre and one length, before the affine maps of both models."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

_EPSILON = 1e-12


@keras.saving.register_keras_serializable(package="visem_tf")
class FeatureScale(keras.layers.Layer):
    """Divides feature vectors by their Euclidean length and multiplies them by a constant.

    A crop of sky activates the CNN less than a crop of a dog, by a factor that says little of what
    is seen. Equal lengths let regions compete by direction. Since no CNN feature is negative, all
    directions are alike at first; `adapt` takes away what they share.

    Args:
      scale: The new length; 0 leaves the vectors as they are.

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
        """Makes the centre, at first the origin; it is never trained."""
        if self.scale:
            self.centre = self.add_weight(
                name="centre", shape=(input_shape[-1],), initializer="zeros", trainable=False
            )
        self.built = True

    def adapt(self, features: np.ndarray) -> None:
        """Makes the mean direction of features the centre.

        Args:
          features: float [N, F], a sample of the training features.
        """
        if not self.built:
            self.build(np.shape(features))
        if self.scale:
            lengths = np.sqrt(np.sum(np.square(features), axis=-1, keepdims=True) + _EPSILON)
            self.centre.assign(np.mean(features / lengths, axis=0))

    def call(self, features: tf.Tensor) -> tf.Tensor:
        """Scales float [..., F]; what is the zero vector after centring stays zero."""
        if not self.scale:
            return features
        return self.scale * _unit(_unit(features) - tf.cast(self.centre, features.dtype))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The same shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The arguments, for `from_config`."""
        return {**super().get_config(), "scale": self.scale}


def _unit(vectors: tf.Tensor) -> tf.Tensor:
    """Vectors divided by their length; the epsilon inside the root keeps gradients finite."""
    squares = tf.reduce_sum(tf.square(vectors), axis=-1, keepdims=True)
    return vectors * tf.math.rsqrt(squares + _EPSILON)
