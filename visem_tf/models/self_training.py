"""Training of the alignment with targets that it finds itself."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from visem_tf.alignment.phrases import Readout, phrase_vectors
from visem_tf.alignment.scores import as_compared, unit_vectors
from visem_tf.alignment.self_training import (
    PhraseTargets,
    find_targets,
    phrase_ends,
    self_training_loss,
)
from visem_tf.models.alignment_model import AlignmentModel
from visem_tf.models.global_batch import GlobalBatchModel, apply_global_gradients, replica_count


class SelfTrainingModel(GlobalBatchModel):
    """Minimises the objective of the alignment and the loss of `visem_tf.alignment.self_training`.

    `fit` takes dictionaries with `boxes`, float [B, R, 4], `rel_yxyx`, the proposer's `scores`,
    float [B, R], and the entries of `AlignmentModel.global_loss`, with `sentence_images`. Weights
    that are zero stay so: those between the members of an ensemble.

    Args:
        alignment: Built alignment model.
        readout: Options of the read-out `phrase`, with which the targets are found.
        is_content: Boolean array [V], the words of the vocabulary that name something.
        weight: Weight of the loss of a sentence beside the objective of a pair.
    """

    def __init__(
        self,
        alignment: AlignmentModel,
        readout: Readout,
        is_content: np.ndarray,
        weight: float,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.alignment = alignment
        self.weight = weight
        self._readout = readout
        self._is_content = tf.constant(is_content)
        self.built = True

    def train_step(self, data: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Takes one step; see the class and `AlignmentModel.train_step`."""
        data, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        alignment = self.alignment
        # Of every sentence; a replica may have none.
        is_own = tf.equal(data["sentence_images"][:, tf.newaxis], data["image_ids"])
        own_image = tf.where(is_own)[:, 1]
        boxes, scores, mask = (
            tf.gather(data[name], own_image) for name in ("boxes", "scores", "region_mask")
        )
        content = tf.gather(self._is_content, data["token_ids"])

        def similarities(training: bool) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            """Embeddings of regions and words, and p · v_i [N, T, R]."""
            regions = alignment.encode_regions(data["region_features"], training=training)
            words = alignment.encode_sentences(data["token_ids"], training=training)
            phrases = unit_vectors(phrase_vectors(as_compared(words, alignment.score), content))
            own = tf.gather(as_compared(regions, alignment.score), own_image)
            return regions, words, tf.matmul(phrases, own, transpose_b=True)

        products = similarities(training=False)[2]
        found = find_targets(products, boxes, scores, mask, content, self._readout)
        targets = PhraseTargets(*map(tf.stop_gradient, found))
        with tf.GradientTape() as tape:
            regions, words, products = similarities(training=True)
            own_loss = self.weight * self_training_loss(
                products, targets, phrase_ends(content), mask, self._readout.box_scale
            )
            loss, count = alignment.loss_of_embeddings(regions, words, data, own_loss)
            share = loss / replica_count()
        apply_global_gradients(
            self, tape, share, alignment.clip_value, gradient_scale=1 / count, keep_zeros=True
        )
        return alignment.get_metrics_result()

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """The metrics of the alignment."""
        return self.alignment.metrics
