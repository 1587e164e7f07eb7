"""The alignment and the CNN below it, trained from pixels (the paper keeps the CNN as it is)."""

from typing import Any

import keras
import tensorflow as tf

from visem_tf.models.alignment_model import AlignmentModel
from visem_tf.models.global_batch import GlobalBatchModel, apply_global_gradients, replica_count
from visem_tf.regions.backbone import TrainableCNN
from visem_tf.regions.extractor import RegionExtractor


class FinetuningModel(GlobalBatchModel):
    """Descends the alignment's objective with the CNN that describes the regions.

    It is trained by `fit` on dictionaries with `pixels` float [B, P, P, 3] in 0..255, `boxes` float
    [B, R, 4], `rel_yxyx`, and what else `AlignmentModel.train_step` takes.

    Args:
      alignment: built.
      cnn: describes regions; trainable in part.
      extractor: cuts regions out; its `cnn` becomes `cnn`.
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
        self._describe = extractor.extract_boxes
        self.supports_jit = False  # resampling has shapes that depend on the data
        self.built = True

    def region_embeddings(self, pixels: tf.Tensor, boxes: tf.Tensor) -> tf.Tensor:
        """Embeds regions of pictures, float [B, R, D]."""
        return self.alignment.encode_regions(self._describe(pixels, boxes))

    def train_step(self, data: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """One step down the gradient of C; see the class and `AlignmentModel.train_step`."""
        inputs, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        inputs = dict(inputs)
        pixels, boxes = inputs.pop("pixels"), inputs.pop("boxes")
        with tf.GradientTape() as tape:
            inputs["region_features"] = self._describe(pixels, boxes)
            loss, batch_size = self.alignment.global_loss(inputs, training=True)
            share = loss / replica_count()
        apply_global_gradients(
            self, tape, share, self.alignment.clip_value, gradient_scale=1 / batch_size
        )
        return {metric.name: metric.result() for metric in self.alignment.metrics}

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """The alignment's."""
        return self.alignment.metrics
