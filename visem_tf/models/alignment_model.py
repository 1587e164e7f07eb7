"""The alignment model of the paper: regions and words in one space, trained to rank."""

from typing import Any

import keras
import tensorflow as tf

from visem_tf import alignment
from visem_tf.models.region_encoder import RegionEncoder
from visem_tf.models.sentence_encoder import SentenceEncoder
from visem_tf.models.training import (
    GlobalBatchModel,
    apply_global_gradients,
    gather,
    replica_count,
)
from visem_tf.text import PAD_ID

MOST_PRODUCTS = 2**26
"""Products of a word and a region that a training step holds at once; 256 MiB in float32."""


@keras.saving.register_keras_serializable(package="visem_tf")
class AlignmentModel(GlobalBatchModel):
    """Scores of images with sentences, and their training (section 1 of the paper).

    Train it by `compile(optimizer=...)` and `fit` on a `tf.data.Dataset` of dictionaries as
    `train_step` takes them. Under a `tf.distribute` strategy the pairs of all replicas are each
    other's negatives, so the result does not depend on how many devices there are.

    Logged for every epoch: "loss", the objective C divided by the number of pairs; "score_spread",
    the mean distance of true and false scores; "collapsed", the share of the batches in which all
    pairs got the same score, so that the loss is 2 (B - 1) margin (`visem_tf.alignment`).

    Args:
      region_encoder: makes region embeddings.
      sentence_encoder: makes word embeddings, of the same embedding_dim.
      margin: by how much a true score must exceed a false one.
      score: "best_region" or "fragments", see `visem_tf.alignment.alignment_scores`.
      normalise_by_length: divides scores by the number of words.
      clip_value: element-wise limit for the gradient of C; None: no limit.

    Example:
      >>> import tensorflow as tf
      >>> model = AlignmentModel(RegionEncoder(8), SentenceEncoder(10, 8, 6, word_dim=4))
      >>> regions = tf.ones([2, 20, 5])
      >>> model({"region_features": regions, "token_ids": tf.constant([[5, 6], [7, 0]])}).shape
      TensorShape([2, 2])
    """

    def __init__(
        self,
        region_encoder: RegionEncoder,
        sentence_encoder: SentenceEncoder,
        margin: float = 1.0,
        score: str = "best_region",
        normalise_by_length: bool = False,
        clip_value: float | None = 5.0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if region_encoder.embedding_dim != sentence_encoder.embedding_dim:
            raise ValueError(
                "region_encoder and sentence_encoder must have one embedding_dim, not "
                f"{region_encoder.embedding_dim} and {sentence_encoder.embedding_dim}"
            )
        if score not in alignment.SCORES:
            raise ValueError(f"score must be one of {alignment.SCORES}, not {score!r}")
        if not margin > 0:
            raise ValueError(f"margin must be above 0, not {margin!r}")
        if clip_value is not None and not clip_value > 0:
            raise ValueError(f"clip_value must be above 0 or None, not {clip_value!r}")
        self.region_encoder = region_encoder
        self.sentence_encoder = sentence_encoder
        self.margin = margin
        self.score = score
        self.normalise_by_length = normalise_by_length
        self.clip_value = clip_value
        self._loss_metric = keras.metrics.Mean(name="loss")
        self._spread_metric = keras.metrics.Mean(name="score_spread")
        self._collapsed_metric = keras.metrics.Mean(name="collapsed")

    def build(self, input_shape: dict[str, tuple[int | None, ...]]) -> None:
        """Makes the weights."""
        for encoder, name in (
            (self.region_encoder, "region_features"),
            (self.sentence_encoder, "token_ids"),
        ):
            if not encoder.built:
                encoder.build(input_shape[name])
        self.built = True

    def call(self, inputs: dict[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """Scores all images with all sentences.

        Args:
          inputs: "region_features" float [B, R, F]; "token_ids" int [N, T], `PAD_ID` in the
            padding; "region_mask" bool [B, R], True = real (may be left out: all are).
          training: whether dropout is on.

        Returns:
          S_kl, float [B, N].
        """
        return self.score_embeddings(
            self.encode_regions(inputs["region_features"], training=training),
            self.encode_sentences(inputs["token_ids"], training=training),
            inputs.get("region_mask"),
            tf.not_equal(inputs["token_ids"], PAD_ID),
        )

    def encode_regions(self, region_features: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Region features [B, R, F] to region embeddings [B, R, D]."""
        return self.region_encoder(region_features, training=training)

    def encode_sentences(self, token_ids: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Token ids [N, T] to word embeddings [N, T, D], zeros in the padding."""
        return self.sentence_encoder(token_ids, training=training)

    def score_embeddings(
        self,
        region_embeddings: tf.Tensor,
        word_embeddings: tf.Tensor,
        region_mask: tf.Tensor | None = None,
        word_mask: tf.Tensor | None = None,
        chunk_size: int | tf.Tensor | None = None,
    ) -> tf.Tensor:
        """`visem_tf.alignment.alignment_scores` with the options of this model, [B, N]."""
        return alignment.alignment_scores(
            region_embeddings,
            word_embeddings,
            region_mask,
            word_mask,
            score=self.score,
            normalise_by_length=self.normalise_by_length,
            chunk_size=chunk_size,
        )

    def word_region_similarities(self, inputs: dict[str, tf.Tensor]) -> tf.Tensor:
        """v_i . s_t for pairs that belong together, what `visem_tf.smooth_alignment` takes.

        Args:
          inputs: as of `call`, with B = N.

        Returns:
          float [B, T, R]; minus infinity at padded regions, 0 for padded words.
        """
        return alignment.word_region_similarities(
            self.encode_regions(inputs["region_features"]),
            self.encode_sentences(inputs["token_ids"]),
            inputs.get("region_mask"),
        )

    def train_step(self, data: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """One step down the gradient of C, clipped element-wise and divided by the batch size.

        Args:
          data: as of `call`, where row k of the regions and row k of the token ids belong
            together, and "image_ids" int [B]; pairs with the same one are no negatives.

        Returns:
          The metrics.
        """
        with tf.GradientTape() as tape:
            loss, batch_size = self._global_loss(data, training=True)
            loss_share = loss / replica_count()  # every replica computes all of C
        apply_global_gradients(
            self, tape, loss_share, self.clip_value, gradient_scale=1 / batch_size
        )
        return self.get_metrics_result()

    def test_step(self, data: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """The metrics of a batch, see `train_step`."""
        self._global_loss(data, training=False)
        return self.get_metrics_result()

    def _global_loss(
        self, data: dict[str, tf.Tensor], training: bool
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """C over the pairs of all replicas and their number; updates the metrics."""
        inputs, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        if not self.built:  # what calling the model would have done
            self.build({name: tuple(value.shape) for name, value in inputs.items()})
        region_embeddings = self.encode_regions(inputs["region_features"], training=training)
        word_embeddings = self.encode_sentences(inputs["token_ids"], training=training)
        region_mask = inputs.get("region_mask")
        image_ids = gather(inputs["image_ids"])
        scores = self._scores_in_memory(
            gather(region_embeddings),
            gather(word_embeddings),
            None if region_mask is None else gather(region_mask),
            gather(tf.not_equal(inputs["token_ids"], PAD_ID)),
        )
        loss = alignment.ranking_loss(scores, image_ids, self.margin)

        batch_size = tf.cast(tf.shape(image_ids)[0], loss.dtype)
        spread = alignment.score_spread(scores, image_ids)
        self._loss_metric.update_state(loss / batch_size, batch_size)
        self._spread_metric.update_state(spread, batch_size)
        equal = spread < alignment.COLLAPSED_SPREAD * self.margin
        self._collapsed_metric.update_state(equal & (loss > 0))  # without negatives it is 0
        return loss, batch_size

    def _scores_in_memory(
        self,
        region_embeddings: tf.Tensor,
        word_embeddings: tf.Tensor,
        region_mask: tf.Tensor | None,
        word_mask: tf.Tensor,
    ) -> tf.Tensor:
        """`score_embeddings`, some images at a time where all at once would take much memory."""
        images, regions = tf.unstack(tf.shape(region_embeddings)[:2])
        words = tf.math.count_nonzero(word_mask, dtype=tf.int32)
        at_once = tf.maximum(MOST_PRODUCTS // tf.maximum(regions * words, 1), 1)

        def score(chunk_size: tf.Tensor | None) -> tf.Tensor:
            return self.score_embeddings(
                region_embeddings, word_embeddings, region_mask, word_mask, chunk_size
            )

        return tf.cond(images <= at_once, lambda: score(None), lambda: score(at_once))

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """What `fit` and `evaluate` log."""
        return [self._loss_metric, self._spread_metric, self._collapsed_metric]

    def get_config(self) -> dict[str, Any]:
        """The arguments, for `from_config`."""
        return {
            **super().get_config(),
            "region_encoder": keras.saving.serialize_keras_object(self.region_encoder),
            "sentence_encoder": keras.saving.serialize_keras_object(self.sentence_encoder),
            "margin": self.margin,
            "score": self.score,
            "normalise_by_length": self.normalise_by_length,
            "clip_value": self.clip_value,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "AlignmentModel":
        """The model that `get_config` described."""
        config = dict(config)
        for name in ("region_encoder", "sentence_encoder"):
            config[name] = keras.saving.deserialize_keras_object(
                config[name], custom_objects=custom_objects
            )
        return cls(**config)
