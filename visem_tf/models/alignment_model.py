"""The alignment model of the paper: regions and words in one space, trained to rank (3.1)."""

from typing import Any

import keras
import tensorflow as tf

from visem_tf.alignment.losses import (
    COLLAPSED_SPREAD,
    get_loss,
    ranking_loss,
    score_spread,
    swapped_noun_loss,
)
from visem_tf.alignment.scores import (
    MOST_PRODUCTS,
    alignment_scores,
    own_sentence_scores,
    word_region_similarities,
)
from visem_tf.alignment.word_scores import get_score
from visem_tf.models.global_batch import (
    GlobalBatchModel,
    apply_global_gradients,
    gather,
    replica_count,
)
from visem_tf.models.region_encoder import RegionEncoder
from visem_tf.models.sentence_encoder import (
    BaseSentenceEncoder,
    GruSentenceEncoder,
    SentenceEncoder,
)
from visem_tf.text import PAD_ID

SENTENCE_ENCODERS: dict[str, type[BaseSentenceEncoder]] = {
    "brnn": SentenceEncoder,
    "gru": GruSentenceEncoder,
}
"""Sentence encoders by their names in the configuration."""


@keras.saving.register_keras_serializable(package="visem_tf")
class AlignmentModel(GlobalBatchModel):
    """Scores images with sentences, and learns to rank them (sections 3.1.1 to 3.1.3).

    Train it by `compile(optimizer=...)` and `fit` on a `tf.data.Dataset` of dictionaries, see
    `train_step`. Under a `tf.distribute` strategy, the pairs of all replicas are negatives of each
    other, so that the result does not depend on the number of devices.

    The metrics of an epoch are "loss", the objective C divided by the number of pairs;
    "score_spread", the mean distance of true and false scores; and "collapsed", the share of the
    batches in which all pairs have the same score. With `swap_weight`, "swap_accuracy" is the share
    of the pairs whose sentence scores higher than all its swapped ones.

    Args:
        region_encoder: Encoder of regions.
        sentence_encoder: Encoder of words with the same embedding_dim. `SentenceEncoder` is the
            paper's.
        margin: Amount by which the score of a true pair must exceed those of false pairs.
        score: Name of the score, a key of `visem_tf.alignment.word_scores.SCORES`.
        normalise_by_length: Whether to divide scores by the number of words.
        clip_value: Largest absolute value of an element of the gradient of C. None means no
            clipping.
        sharpness: Sharpness of the scores "attention", "hard_alignment" and "negative_aware".
        loss: Name of the loss, a key of `visem_tf.alignment.losses.LOSSES`.
        temperature: Temperature of the loss "infonce".
        hinge_sum_steps: Number of first steps of the optimizer in which "hinge_sum" replaces
            `loss`.
        threshold: Cosine below which a word has no region, for the score "negative_aware".
        swap_weight: Weight of `swapped_noun_loss` beside C, for batches with "swapped_ids".

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
        sentence_encoder: BaseSentenceEncoder,
        margin: float = 1.0,
        score: str = "best_region",
        normalise_by_length: bool = False,
        clip_value: float | None = 5.0,
        sharpness: float = 9.0,
        loss: str = "hinge_sum",
        temperature: float = 0.1,
        hinge_sum_steps: int = 0,
        threshold: float = 0.0,
        swap_weight: float = 0.0,
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
        self.region_encoder = region_encoder
        self.sentence_encoder = sentence_encoder
        self.margin = margin
        self.score = score
        self.normalise_by_length = normalise_by_length
        self.clip_value = clip_value
        self.sharpness = sharpness
        self.loss_name = loss  # `loss` is an attribute of Keras
        self.temperature = temperature
        self.hinge_sum_steps = hinge_sum_steps
        self.threshold = threshold
        self.swap_weight = swap_weight
        for name in ("margin", "sharpness", "temperature"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, not {getattr(self, name)!r}")
        if clip_value is not None and not clip_value > 0:
            raise ValueError(f"clip_value must be above 0 or None, not {clip_value!r}")
        if not swap_weight >= 0:
            raise ValueError(f"swap_weight must be at least 0, not {swap_weight!r}")
        self._loss_metric = keras.metrics.Mean(name="loss")
        self._spread_metric = keras.metrics.Mean(name="score_spread")
        self._collapsed_metric = keras.metrics.Mean(name="collapsed")
        self._swap_metric = keras.metrics.Mean(name="swap_accuracy")

    def build(self, input_shape: dict[str, tuple[int | None, ...]]) -> None:
        """Creates the weights."""
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
            inputs: Dictionary with "region_features", float [B, R, F]; "token_ids", int [N, T],
                `PAD_ID` in the padding; and "region_mask", bool [B, R], True for real regions
                (optional; by default all are real).
            training: Whether dropout is applied.

        Returns:
            Scores S_kl, float tensor [B, N].
        """
        return self.score_embeddings(
            self.encode_regions(inputs["region_features"], training=training),
            self.encode_sentences(inputs["token_ids"], training=training),
            inputs.get("region_mask"),
            tf.not_equal(inputs["token_ids"], PAD_ID),
        )

    def encode_regions(self, region_features: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Encodes region features [B, R, F] as region embeddings [B, R, D]."""
        return self.region_encoder(region_features, training=training)

    def encode_sentences(self, token_ids: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Encodes token ids [N, T] as word embeddings [N, T, D], zeros in the padding."""
        return self.sentence_encoder(token_ids, training=training)

    def score_embeddings(
        self,
        region_embeddings: tf.Tensor,
        word_embeddings: tf.Tensor,
        region_mask: tf.Tensor | None = None,
        word_mask: tf.Tensor | None = None,
        chunk_size: int | tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Computes `alignment_scores` [B, N] with the options of this model."""
        return alignment_scores(
            region_embeddings,
            word_embeddings,
            region_mask,
            word_mask,
            chunk_size=chunk_size,
            **self._score_options,
        )

    @property
    def _score_options(self) -> dict[str, Any]:
        """The options of `alignment_scores` that a model has."""
        names = ("score", "sharpness", "threshold", "normalise_by_length")
        return {name: getattr(self, name) for name in names}

    def word_region_similarities(self, inputs: dict[str, tf.Tensor]) -> tf.Tensor:
        """Computes v_i · s_t for matching pairs, the input of `visem_tf.smooth_alignment`.

        Args:
            inputs: Dictionary as for `call`, with B = N.

        Returns:
            Float tensor [B, T, R], minus infinity at padded regions, 0 for padded words. For scores
            of unit vectors, the similarities are cosines.
        """
        return word_region_similarities(
            self.encode_regions(inputs["region_features"]),
            self.encode_sentences(inputs["token_ids"]),
            inputs.get("region_mask"),
            score=self.score,
        )

    def train_step(self, data: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Takes one step along the gradient of C, clipped element-wise and divided by B.

        Args:
            data: Dictionary as for `call`, in which row k of the regions and row k of the token ids
                match, with "image_ids", int [B]. Pairs with the same id are not negatives.
                "swapped_ids", int [B, K, T], are false sentences for each image, only `PAD_ID`
                where there are fewer than K (optional).

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
        """Computes the metrics of a batch, see `train_step`."""
        self.global_loss(data, training=False)
        return self.get_metrics_result()

    def global_loss(
        self, data: dict[str, tf.Tensor], training: bool
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Computes C over the pairs of all replicas, and updates the metrics.

        Args:
            data: Dictionary as for `train_step`. With "sentence_images", int [N], the image of
                every sentence, the token ids are [N, T] of any number of sentences an image; each
                sentence is a pair with its image, and an image occurs once.
            training: Whether dropout is applied.

        Returns:
            C and the number of pairs, scalars.
        """
        data, _, _ = keras.utils.unpack_x_y_sample_weight(data)  # `train_on_batch` gives a tuple
        if not self.built:
            self.build({name: tuple(value.shape) for name, value in data.items()})
        region_embeddings = self.encode_regions(data["region_features"], training=training)
        token_ids = data["token_ids"]
        swapped_ids = data.get("swapped_ids") if self.swap_weight else None
        if swapped_ids is None:
            word_embeddings = self.encode_sentences(token_ids, training=training)
            return self.loss_of_embeddings(region_embeddings, word_embeddings, data)
        own_ids = tf.concat([token_ids[:, tf.newaxis], swapped_ids], axis=1)  # [B, 1 + K, T]
        own_embeddings = self._encode_own_sentences(own_ids, training)
        region_mask = data.get("region_mask")
        swap_loss = self._swap_loss(region_embeddings, own_embeddings, region_mask, own_ids)
        own_loss = self.swap_weight * swap_loss
        return self.loss_of_embeddings(region_embeddings, own_embeddings[:, 0], data, own_loss)

    def loss_of_embeddings(
        self,
        region_embeddings: tf.Tensor,
        word_embeddings: tf.Tensor,
        data: dict[str, tf.Tensor],
        own_loss: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Computes C over the pairs of all replicas, and updates the metrics.

        Args:
            region_embeddings: v_i of the images, float [B, R, D].
            word_embeddings: s_t of the sentences, float [N, T, D].
            data: Dictionary as for `global_loss`; the features are not used.
            own_loss: Another loss, of the pairs of this replica only, which is added to C times the
                number of replicas, by which the callers divide.

        Returns:
            C and the number of pairs, scalars.
        """
        token_ids, region_mask = data["token_ids"], data.get("region_mask")
        image_ids = gather(data["image_ids"])
        scores = self._scores_in_memory(
            gather(region_embeddings),
            gather(word_embeddings),
            None if region_mask is None else gather(region_mask),
            gather(tf.not_equal(token_ids, PAD_ID)),
        )
        if "sentence_images" in data:
            images, image_ids = image_ids, gather(data["sentence_images"])
            rows = tf.argmax(tf.equal(images[:, tf.newaxis], image_ids), axis=0)
            scores = tf.gather(scores, rows)  # [N, N]: the row of its image for every sentence
        scale = getattr(self, self._objective.scale)
        loss = self._loss_of(scores, image_ids, scale)
        has_negatives = loss > 0
        if own_loss is not None:  # of the pairs of one replica, where C is of all
            loss += replica_count() * own_loss

        batch_size = tf.cast(tf.shape(image_ids)[0], loss.dtype)
        spread = score_spread(scores, image_ids)
        self._loss_metric.update_state(loss / batch_size, batch_size)
        self._spread_metric.update_state(spread, batch_size)
        equal = spread < COLLAPSED_SPREAD * scale
        self._collapsed_metric.update_state(equal & has_negatives)
        return loss, batch_size

    def _encode_own_sentences(self, token_ids: tf.Tensor, training: bool) -> tf.Tensor:
        """Encodes several sentences of every image, [B, N, T], at once, as [B, N, T, D]."""
        shape = tf.shape(token_ids)
        flat = tf.reshape(token_ids, [shape[0] * shape[1], shape[2]])
        embeddings = self.encode_sentences(flat, training=training)
        shape = tf.concat([shape, tf.shape(embeddings)[-1:]], axis=0)
        return tf.ensure_shape(
            tf.reshape(embeddings, shape), [None, None, None, *embeddings.shape[2:]]
        )

    def _swap_loss(
        self,
        region_embeddings: tf.Tensor,
        own_embeddings: tf.Tensor,
        region_mask: tf.Tensor | None,
        own_ids: tf.Tensor,
    ) -> tf.Tensor:
        """`swapped_noun_loss` of true sentences and their swapped ones; updates the metric."""
        word_mask = tf.not_equal(own_ids, PAD_ID)
        scores = own_sentence_scores(
            region_embeddings, own_embeddings, region_mask, word_mask, **self._score_options
        )
        real = tf.reduce_any(word_mask, axis=2)
        wins = tf.reduce_all((scores[:, :1] > scores[:, 1:]) | ~real[:, 1:], axis=1)
        has_swaps = tf.reduce_any(real[:, 1:], axis=1)
        self._swap_metric.update_state(gather(wins), gather(has_swaps))  # of all replicas
        return swapped_noun_loss(scores, real, self.temperature)

    def _loss_of(self, scores: tf.Tensor, image_ids: tf.Tensor, scale: float) -> tf.Tensor:
        """C by the model's loss, or by the sum of hinges in the first steps."""
        steps = self.steps_taken()
        if not self.hinge_sum_steps or steps is None:
            return self._objective.function(scores, image_ids, scale)
        return tf.cond(
            steps < self.hinge_sum_steps,
            lambda: ranking_loss(scores, image_ids, self.margin),
            lambda: self._objective.function(scores, image_ids, scale),
        )

    def _scores_in_memory(
        self,
        region_embeddings: tf.Tensor,
        word_embeddings: tf.Tensor,
        region_mask: tf.Tensor | None,
        word_mask: tf.Tensor,
    ) -> tf.Tensor:
        """`score_embeddings` in chunks of images, if all at once would take too much memory."""
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
        """The metrics of `fit` and `evaluate`."""
        metrics = [self._loss_metric, self._spread_metric, self._collapsed_metric]
        return [*metrics, self._swap_metric] if self.swap_weight else metrics

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
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
            "threshold": self.threshold,
            "swap_weight": self.swap_weight,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "AlignmentModel":
        """Creates the model that `get_config` describes."""
        config = dict(config)
        for name in ("region_encoder", "sentence_encoder"):
            config[name] = keras.saving.deserialize_keras_object(
                config[name], custom_objects=custom_objects
            )
        return cls(**config)
