"""From CNN features of image regions to the space that they share with words."""

from typing import Any

import keras
import tensorflow as tf

from visem_tf.models.feature_scale import FeatureScale

FEATURE_NORM = 10.0
"""The length of a feature vector that the initial scale of the encoder is made for."""


@keras.saving.register_keras_serializable(package="visem_tf")
class RegionEncoder(keras.layers.Layer):
    """v_b = W_m CNN(I_b) + b_m: region embeddings, affine in the CNN's features (section 1).

    The kernel starts with a standard deviation of sqrt(0.05 / D). Features of length 10 (see
    `feature_scale`) then become embeddings of length sqrt(5), whatever F and D are. With
    `SentenceEncoder` and D of 500 to 1,000 the scores of different pairs start about 1 apart, which
    is the margin (without dropout; about 4 at D = 64). With a usual initialiser they start ten
    times as far, and the first epochs only shrink them.

    Args:
      embedding_dim: D, the length of an embedding.
      dropout: share of the CNN features that are dropped in training.
      feature_scale: length that CNN features are brought to first; 0 leaves them as they are.

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
        """Makes the weights."""
        self.scaling.build(input_shape)
        self.projection.build(input_shape)

    def call(self, region_features: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Embeds regions; padded ones need no mask here, `alignment_scores` takes it.

        Args:
          region_features: float [B, R, F].
          training: whether features are dropped.

        Returns:
          Region embeddings, float [B, R, D].
        """
        region_features = self.scaling(region_features)
        return self.projection(self.feature_dropout(region_features, training=training))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The shape of the embeddings."""
        return (*input_shape[:-1], self.embedding_dim)

    def get_config(self) -> dict[str, Any]:
        """The arguments, for `from_config`."""
        return {
            **super().get_config(),
            "embedding_dim": self.embedding_dim,
            "dropout": self.dropout,
            "feature_scale": self.feature_scale,
        }
