"""The alignment model of the paper: regions and words in one space, trained to rank."""

from typing import Any

import keras
import tensorflow as tf

from visem_tf.alignment import scores as alignment
from visem_tf.losses import get_loss, hinge_sum
from visem_tf.models.global_batch import (
    GlobalBatchModel,
    apply_global_gradients,
    gather,
    replica_count,
)
from visem_tf.models.gru_sentence_encoder import GruSentenceEncoder
from visem_tf.models.region_encoder import RegionEncoder
from visem_tf.models.sentence_encoder import SentenceEncoder
from visem_tf.models.words_in_context import WordsInContext
from visem_tf.scores import get_score
from visem_tf.text import PAD_ID

SENTENCE_ENCODERS: dict[str, type[WordsInContext]] = {
    "brnn": SentenceEncoder,
    "gru": GruSentenceEncoder,
}
"""Sentence encoders by their names in the configuration."""

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
    pairs got the same score, so that the loss is 2 (B - 1) margin (`visem_tf.alignment.scores`).

    Args:
      region_encoder: makes region embeddings.
      sentence_encoder: makes word embeddings, of the same embedding_dim; `SentenceEncoder` is the
        paper's.
      margin: by how much a true score must exceed a false one.
      score: "best_region" (the paper's) or another module of `visem_tf.scores`.
      sharpness: of the score "attention".
      normalise_by_length: divides scores by the number of words.
      loss: "hinge_sum" (the paper's C) or another module of `visem_tf.losses`.
      temperature: of the loss "infonce".
      hinge_sum_steps: so many steps of the optimizer descend "hinge_sum" before `loss` does.
      clip_value: element-wise limit for the gradient of C; None: no limit.

    Example:
      >>> import tensorflow as tf
      >>> from visem_tf.models.sentence_encoder import SentenceEncoder
      >>> model = AlignmentModel(RegionEncoder(8), SentenceEncoder(10, 8, 6, word_dim=4))
      >>> regions = tf.ones([2, 20, 5])
      >>> model({"region_features": regions, "token_ids": tf.constant([[5, 6], [7, 0]])}).shape
      TensorShape([2, 2])
    """

    def __init__(
        self,
        region_encoder: RegionEncoder,
        sentence_encoder: WordsInContext,
        margin: float = 1.0,
        score: str = "best_region",
        normalise_by_length: bool = False,
        clip_value: float | None = 5.0,
        sharpness: float = 9.0,
        loss: str = "hinge_sum",
        temperature: float = 0.1,
        hinge_sum_steps: int = 0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if region_encoder.embedding_dim != sentence_encoder.embedding_dim:
            raise ValueError(
                "region_encoder and sentence_encoder must have one embedding_dim, not "
                f"{region_encoder.embedding_dim} and {sentence_encoder.embedding_dim}"
            )
        get_score(score)
        self._objective = get_loss(loss)
        for name, value in (
            ("margin", margin),
            ("sharpness", sharpness),
            ("temperature", temperature),
        ):
            if not value > 0:
                raise ValueError(f"{name} must be above 0, not {value!r}")
        if clip_value is not None and not clip_value > 0:
            raise ValueError(f"clip_value must be above 0 or None, not {clip_value!r}")
        self.region_encoder = region_encoder
        self.sentence_encoder = sentence_encoder
        self.margin = margin
        self.score = score
        self.normalise_by_length = normalise_by_length
        self.clip_value = clip_value
        self.sharpness = sharpness
        self.loss_name = loss  # Keras has a `loss` of its own
        self.temperature = temperature
        self.hinge_sum_steps = hinge_sum_steps
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
        """`visem_tf.alignment.scores.alignment_scores` with the options of this model, [B, N]."""
        return alignment.alignment_scores(
            region_embeddings,
            word_embeddings,
            region_mask,
            word_mask,
            score=self.score,
            sharpness=self.sharpness,
            normalise_by_length=self.normalise_by_length,
            chunk_size=chunk_size,
        )

    def word_region_similarities(self, inputs: dict[str, tf.Tensor]) -> tf.Tensor:
        """v_i . s_t for pairs that belong together, what `visem_tf.smooth_alignment` takes; the
        cosine for scores that compare vectors of length 1.

        Args:
          inputs: as of `call`, with B = N.

        Returns:
          float [B, T, R]; minus infinity at padded regions, 0 for padded words.
        """
        return alignment.word_region_similarities(
            self.encode_regions(inputs["region_features"]),
            self.encode_sentences(inputs["token_ids"]),
            inputs.get("region_mask"),
            score=self.score,
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
            loss, batch_size = self.global_loss(data, training=True)
            loss_share = loss / replica_count()  # every replica computes all of C
        apply_global_gradients(
            self, tape, loss_share, self.clip_value, gradient_scale=1 / batch_size
        )
        return self.get_metrics_result()

    def test_step(self, data: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """The metrics of a batch, see `train_step`."""
        self.global_loss(data, training=False)
        return self.get_metrics_result()

    def global_loss(
        self, data: dict[str, tf.Tensor], training: bool
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """C over the pairs of all replicas and their number; updates the metrics.

        Args:
          data: as of `train_step`.
          training: whether dropout is on.
        """
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
        loss = self._loss_of(scores, image_ids)

        batch_size = tf.cast(tf.shape(image_ids)[0], loss.dtype)
        spread = alignment.score_spread(scores, image_ids)
        self._loss_metric.update_state(loss / batch_size, batch_size)
        self._spread_metric.update_state(spread, batch_size)
        unit = self.temperature if self.loss_name == "infonce" else self.margin
        equal = spread < alignment.COLLAPSED_SPREAD * unit
        self._collapsed_metric.update_state(equal & (loss > 0))  # without negatives it is 0
        return loss, batch_size

    def _loss_of(self, scores: tf.Tensor, image_ids: tf.Tensor) -> tf.Tensor:
        """C by the model's loss, or by the sum of hinges in the first steps."""
        options = {"margin": self.margin, "temperature": self.temperature}
        steps = self.steps_taken()
        if not self.hinge_sum_steps or steps is None:
            return self._objective(scores, image_ids, **options)
        return tf.cond(
            steps < self.hinge_sum_steps,
            lambda: hinge_sum.loss(scores, image_ids, **options),
            lambda: self._objective(scores, image_ids, **options),
        )

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
            "sharpness": self.sharpness,
            "loss": self.loss_name,
            "temperature": self.temperature,
            "hinge_sum_steps": self.hinge_sum_steps,
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
