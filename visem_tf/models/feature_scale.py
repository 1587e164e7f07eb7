"""Brings CNN features to one length, before the affine maps of both models."""

from typing import Any

import keras
import tensorflow as tf

_EPSILON = 1e-12


@keras.saving.register_keras_serializable(package="visem_tf")
class FeatureScale(keras.layers.Layer):
    """Divides feature vectors by their Euclidean length and multiplies them by a constant.

    A crop of sky activates the CNN less than a crop of a dog, by a factor that says little of what
    is seen. Equal lengths let regions compete by direction.

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

    def call(self, features: tf.Tensor) -> tf.Tensor:
        """Scales float [..., F]; the zero vector stays zero."""
        if not self.scale:
            return features
        squares = tf.reduce_sum(tf.square(features), axis=-1, keepdims=True)
        return features * (self.scale * tf.math.rsqrt(squares + _EPSILON))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The same shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The arguments, for `from_config`."""
        return {**super().get_config(), "scale": self.scale}
