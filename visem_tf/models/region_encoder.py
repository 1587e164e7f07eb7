"""From CNN features of image regions to the space that they share with words (section 3.1.1)."""

from typing import Any, Literal

import keras
import tensorflow as tf

from visem_tf.models.layers import FeatureScale

FEATURE_NORM = 10.0
"""Length of a feature vector for which the initial weights of the encoder are scaled."""


@keras.saving.register_keras_serializable(package="visem_tf")
class RegionEncoder(keras.layers.Layer):
    """Region embeddings v_b = W_m CNN(I_b) + b_m, affine in the CNN's features (section 3.1.1).

    The kernel is initialised with a standard deviation of sqrt(0.05 / D). Features of length 10
    (see `feature_scale`) then become embeddings of length sqrt(5), for any F and D. With
    `SentenceEncoder` and D between 500 and 1,000, the scores of different pairs initially differ by
    about 1, which is the margin (without dropout; by about 4 for D = 64). With a usual initialiser,
    they would differ by ten times as much, and the first epochs would only reduce them.

    With the context "frame", a region is also seen against its whole image, region 0:

        v_b = W_m CNN(I_b) + W_c max(0, CNN(I_b) - CNN(I_0)) + b_m

    The second term contains what is stronger in the region than in the image. Without the maximum,
    W_c CNN(I_0) would add the same to all regions, and a word would still choose the same one. W_c
    starts at zero, so that an untrained encoder is the same with and without it.

    Args:
        embedding_dim: Length D of the embeddings.
        dropout: Share of the CNN features that are dropped in training.
        feature_scale: Length to which CNN features are scaled first. 0 leaves them unchanged.
        region_context: What a region is compared with: "none", or "frame" for the whole image.

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
        region_context: Literal["none", "frame"] = "none",
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if embedding_dim < 1:
            raise ValueError(f"embedding_dim must be at least 1, not {embedding_dim!r}")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), not {dropout!r}")
        if region_context not in ("none", "frame"):
            raise ValueError(f"region_context must be 'none' or 'frame', not {region_context!r}")
        self.embedding_dim = embedding_dim
        self.dropout = dropout
        self.feature_scale = feature_scale
        self.region_context = region_context
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
        if region_context == "frame":
            self.context_projection = keras.layers.Dense(
                embedding_dim,
                use_bias=False,
                kernel_initializer="zeros",
                dtype=self.dtype_policy,
                name="context_projection",
            )

    @property
    def projections(self) -> list[keras.layers.Dense]:
        """The layers with trained weights."""
        has_context = self.region_context == "frame"
        return [self.projection, *([self.context_projection] if has_context else [])]

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Creates the weights."""
        self.scaling.build(input_shape)
        for projection in self.projections:
            projection.build(input_shape)

    def call(self, region_features: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Embeds regions, padded ones included.

        Args:
            region_features: Float tensor [B, R, F], or [N, F] for regions without their images,
                which have no context.
            training: Whether dropout is applied.

        Returns:
            Region embeddings, float tensor [B, R, D] or [N, D].
        """
        features = self.scaling(region_features)
        embeddings = self.projection(self.feature_dropout(features, training=training))
        if self.region_context == "none" or features.shape.rank == 2:
            return embeddings
        surplus = tf.nn.relu(features - features[:, :1])
        return embeddings + self.context_projection(
            self.feature_dropout(surplus, training=training)
        )

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
            "region_context": self.region_context,
        }
