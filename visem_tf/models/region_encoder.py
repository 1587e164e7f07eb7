"""From CNN features of image regions to the space that they share with words (section 3.1.1)."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from visem_tf.alignment.scores import unit_vectors

FEATURE_NORM = 10.0
"""Length of a feature vector for which the initial weights of the encoder are scaled."""


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
class RegionEncoder(keras.layers.Layer):
    """Region embeddings v_b = W_m CNN(I_b) + b_m, affine in the CNN's features (section 3.1.1).

    The kernel is initialised with a standard deviation of sqrt(0.05 / D). Features of length 10
    (see `feature_scale`) then become embeddings of length sqrt(5), for any F and D. With
    `SentenceEncoder` and D between 500 and 1,000, the scores of different pairs initially differ by
    about 1, which is the margin (without dropout; by about 4 for D = 64). With a usual initialiser,
    they would differ by ten times as much, and the first epochs would only reduce them.

    Args:
        embedding_dim: Length D of the embeddings.
        dropout: Share of the CNN features that are dropped in training.
        feature_scale: Length to which CNN features are scaled first. 0 leaves them unchanged.

    Example:
        >>> import tensorflow as tf
        >>> RegionEncoder(embedding_dim=8)(tf.ones([2, 20, 5])).shape
        TensorShape([2, 20, 8])
    """

    def __init__(
        self,
        embedding_dim: int,
        dropout: float = 0.0,
        feature_scale: float = 0.0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if embedding_dim < 1:
            raise ValueError(f"embedding_dim must be at least 1, not {embedding_dim!r}")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), not {dropout!r}")
        self.embedding_dim = embedding_dim
        self.dropout = dropout
        self.feature_scale = feature_scale
        self.scaling = FeatureScale(feature_scale, dtype=self.dtype_policy)
        self.feature_dropout = keras.layers.Dropout(dropout, dtype=self.dtype_policy)
        self.projection = keras.layers.Dense(
            embedding_dim,
            kernel_initializer=keras.initializers.VarianceScaling(
                5 / FEATURE_NORM**2, mode="fan_out", distribution="untruncated_normal"
            ),
            dtype=self.dtype_policy,
            name="projection",
        )

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Creates the weights."""
        self.scaling.build(input_shape)
        self.projection.build(input_shape)

    def call(self, region_features: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Embeds regions, padded ones included.

        Args:
            region_features: Float tensor [B, R, F].
            training: Whether dropout is applied.

        Returns:
            Region embeddings, float tensor [B, R, D].
        """
        region_features = self.scaling(region_features)
        return self.projection(self.feature_dropout(region_features, training=training))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns the shape of the embeddings."""
        return (*input_shape[:-1], self.embedding_dim)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return {
            **super().get_config(),
            "embedding_dim": self.embedding_dim,
            "dropout": self.dropout,
            "feature_scale": self.feature_scale,
        }
