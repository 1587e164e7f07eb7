"""Training of the alignment together with the CNN; the paper keeps the CNN fixed."""

from typing import Any

import keras
import tensorflow as tf

from visem_tf.models.alignment_model import AlignmentModel
from visem_tf.models.global_batch import (
    GlobalBatchModel,
    apply_global_gradients,
    at_least_one,
    replica_count,
)
from visem_tf.regions.backbone import TrainableCNN
from visem_tf.regions.extractor import RegionExtractor


class FinetuningModel(GlobalBatchModel):
    """Minimises the objective of the alignment over the alignment and the CNN.

    `fit` takes dictionaries with `pixels`, float [B, P, P, 3] in 0..255, `boxes`, float [B, R, 4],
    `rel_yxyx`, and the other entries of `AlignmentModel.global_loss`. Weights of the alignment that
    are zero stay so: those between the members of an ensemble.

    Args:
        alignment: Built alignment model.
        cnn: Partly trainable CNN that computes the features of regions.
        extractor: Extractor of regions; `cnn` becomes its CNN.
    """

    def __init__(
        self,
        alignment: AlignmentModel,
        cnn: TrainableCNN,
        extractor: RegionExtractor,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.alignment = alignment
        self.cnn = cnn
        extractor.cnn = cnn
        self._extract = extractor.extract_boxes
        self.supports_jit = False  # resampling has shapes that depend on the data
        self.built = True

    def region_embeddings(self, pixels: tf.Tensor, boxes: tf.Tensor) -> tf.Tensor:
        """Computes region embeddings, float [B, R, D]."""
        return self.alignment.encode_regions(self._extract(pixels, boxes))

    def train_step(self, data: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Takes one step along the gradient of C; see the class and `AlignmentModel.train_step`."""
        data, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        inputs = dict(data)
        pixels, boxes = inputs.pop("pixels"), inputs.pop("boxes")
        with tf.GradientTape() as tape:
            features = self._extract(at_least_one(pixels), at_least_one(boxes))
            inputs["region_features"] = features[: tf.shape(pixels)[0]]
            loss, batch_size = self.alignment.global_loss(inputs, training=True)
            share = loss / replica_count()
        apply_global_gradients(
            self,
            tape,
            share,
            self.alignment.clip_value,
            gradient_scale=1 / batch_size,
            examples=pixels,
            keep_zeros=True,
        )
        return self.alignment.get_metrics_result()

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """The metrics of the alignment."""
        return self.alignment.metrics
