"""Base class of the generators of sentences: words, targets, the loss and the training step."""

import abc
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import keras
import numpy as np
import tensorflow as tf

from visem_tf.models.cells import get_cell
from visem_tf.models.global_batch import GlobalBatchModel, all_reduce_sum, apply_global_gradients
from visem_tf.models.layers import FeatureScale, Perplexity, WordDropout
from visem_tf.models.region_encoder import RegionEncoder
from visem_tf.text import PAD_ID

RETIRED = frozenset({"scheduled_sampling", "sampling_steps", "sampled_words"})
"""Former arguments that only training used; files of earlier versions may still contain them."""

Generator = TypeVar("Generator", bound="SentenceGenerator")


class ImageState(NamedTuple):
    """A state of decoding in two parts, so that a search need not copy images for its beams.

    Attributes:
        rows: Nest of tensors [B K, ...] with a row for every sentence that is being written. A
            search copies, reorders and replaces these rows.
        images: Nest of tensors [B, ...] with a row for every image, the same at every step. The
            sentences of image b are the rows b K to b K + K - 1.
    """

    rows: Any
    images: Any


class Targets(NamedTuple):
    """The words that a generator has to predict in a batch, and the words before them.

    Attributes:
        words: Input words, int32 tensor [T, B], START first.
        ids: Targets, int32 tensor [M], step by step (all first words, then all second words),
            without PAD.
        places: Step and sentence of every target, int64 tensor [M, 2].
    """

    words: tf.Tensor
    ids: tf.Tensor
    places: tf.Tensor


class SentenceGenerator(GlobalBatchModel, abc.ABC):
    """Base class of the models that predict the next word of a sentence, given an image.

    `fit` takes dictionaries with `token_ids`, int32 [B, 1 + T] (START, the words, END, then PAD),
    and the inputs that the generator reads of an image. The loss is the mean negative
    log-likelihood of the targets: the N words of a sentence and one END. The mean is taken over all
    targets of the *global* batch, so that it does not depend on the number of replicas. Gradients
    are summed over the replicas, then clipped element-wise. PAD is never a target and costs
    nothing: the word vectors and the output layer are computed for real tokens only.

    The metrics are "loss", the training loss, and "perplexity", of the likelihood alone. Without
    label smoothing and penalties, the second is the exponential of the first.

    A subclass creates its layers, `scaling` and `output_projection` among them (`make_layers`),
    computes the input of the latter for the targets of a batch (`hidden_of_targets`), and decodes
    step by step (`initial_state`, `step`).

    Args:
        vocabulary_size: Number of words V, including the four special tokens.
        hidden_dim: Number of hidden units H.
        word_dim: Length of the word vectors x_t.
        cell: Name of the recurrent cell, a key of `visem_tf.models.cells.CELLS`.
        dropout: Dropout rate in [0, 1) of word vectors and of the input of the output layer.
        image_dropout: Dropout rate in [0, 1) of the image vectors.
        word_dropout: Share of the input words that are replaced by UNK in training.
        label_smoothing: Weight e of the mean over the vocabulary in the loss; the negative
            log-likelihood of the target has the weight 1 - e.
        feature_scale: Length to which image vectors are scaled first. 0 leaves them unchanged.
        clip_value: Largest absolute value of an element of the gradient. None means no clipping.
        region_encoder: The alignment's region encoder, whose embeddings replace CNN features, or
            None.
        word_vectors: Built embedding layer of another model to share in training, or None to create
            one. A saved generator has its own.
    """

    reads_regions: bool = False
    """Whether decoding takes all regions of an image, or one vector per image."""

    def __init__(
        self,
        vocabulary_size: int,
        hidden_dim: int = 512,
        word_dim: int = 512,
        cell: str = "rnn",
        dropout: float = 0.0,
        image_dropout: float = 0.0,
        word_dropout: float = 0.0,
        label_smoothing: float = 0.0,
        feature_scale: float = 0.0,
        clip_value: float | None = 5.0,
        region_encoder: RegionEncoder | None = None,
        word_vectors: keras.layers.Embedding | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.vocabulary_size = vocabulary_size
        self.hidden_dim = hidden_dim
        self.word_dim = word_dim
        self.cell = cell
        self.dropout = dropout
        self.image_dropout = image_dropout
        self.word_dropout_rate = word_dropout
        self.label_smoothing = label_smoothing
        self.feature_scale = feature_scale
        self.clip_value = clip_value
        for name in ("vocabulary_size", "hidden_dim", "word_dim"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if clip_value is not None and not clip_value > 0:
            raise ValueError(f"clip_value must be above 0 or None, not {clip_value}")
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing must be in [0, 1), not {label_smoothing}")
        self.supports_jit = False  # the number of real tokens differs from batch to batch
        self._cell = get_cell(cell)
        self.replaced_words = WordDropout(word_dropout, dtype=self.dtype_policy)
        self._loss_mean = keras.metrics.Mean(name="loss")
        self._perplexity = Perplexity(name="perplexity")
        if word_vectors is None:
            word_vectors = keras.layers.Embedding(
                vocabulary_size, word_dim, dtype=self.dtype_policy
            )
        elif (word_vectors.input_dim, word_vectors.output_dim) != (vocabulary_size, word_dim):
            raise ValueError(
                f"word_vectors must be {vocabulary_size} of length {word_dim}, not "
                f"{word_vectors.input_dim} of {word_vectors.output_dim}"
            )
        self.word_vectors = word_vectors  # x_t
        self.scaling: FeatureScale
        self.output_projection: keras.layers.Dense
        self.make_layers()
        self.region_encoder = region_encoder

    @abc.abstractmethod
    def make_layers(self) -> None:
        """Creates the layers; called once, after the arguments are set."""

    @abc.abstractmethod
    def hidden_of_targets(
        self, inputs: dict[str, tf.Tensor], targets: Targets, training: bool
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Computes the input of the output layer for every target of a batch.

        Args:
            inputs: A batch, see the class.
            targets: The targets of the batch.
            training: Whether dropout is applied.

        Returns:
            Float tensor [M, ...] in the order of the targets, and the penalties of the loss, summed
            over the sentences, a scalar.
        """

    @abc.abstractmethod
    def initial_state(self, image_features: Any) -> Any:
        """Returns the state before START, see `visem_tf.decoding.StepwiseModel`."""

    @abc.abstractmethod
    def step(self, token_ids: tf.Tensor, state: Any) -> tuple[tf.Tensor, Any]:
        """Computes one step of decoding, see `visem_tf.decoding.StepwiseModel`."""

    @abc.abstractmethod
    def inputs_of_images(self, region_features: Any, region_mask: Any) -> Any:
        """Returns the argument of `initial_state` for images with known regions.

        Args:
            region_features: Float tensor [B, R, F]; region 0 is the whole frame.
            region_mask: Boolean tensor [B, R], True for real regions.
        """

    @abc.abstractmethod
    def batch_of(self, inputs: Any, token_ids: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns a batch of images (`inputs_of_images`) and sentences int32 [B, 1 + T]."""

    @abc.abstractmethod
    def input_specs(self) -> Any:
        """Returns the types of `inputs_of_images`, for compiled searches."""

    def call(self, inputs: dict[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """Computes the logits of every word at every step.

        Args:
            inputs: A batch as in training, with `token_ids` int32 [B, T], START first. More padding
                changes nothing; the outputs in the padding are meaningless.
            training: Whether dropout is applied.

        Returns:
            Logits of the word after each token, float32 tensor [B, T, V].
        """
        words = tf.transpose(inputs["token_ids"])  # [T, B]
        everywhere = tf.where(tf.ones_like(words, tf.bool))
        targets = Targets(words, tf.reshape(words, [-1]), everywhere)
        hidden, _ = self.hidden_of_targets(inputs, targets, training)
        steps, batch = tf.unstack(tf.shape(words))
        logits = tf.reshape(self._logits(hidden), [steps, batch, self.vocabulary_size])
        return tf.transpose(logits, [1, 0, 2])

    def adapt(self, features: np.ndarray) -> None:
        """Centres image vectors, see `FeatureScale.adapt`.

        Args:
            features: Sample of the CNN features of the training split, float array [N, F].
        """
        if self.region_encoder is not None:
            features = self.region_encoder(features).numpy()
        self.scaling.adapt(features)

    def log_likelihood(self, inputs: dict[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """Computes the log-probability of every target of a batch.

        Args:
            inputs: A batch, see the class.
            training: Whether dropout is applied.

        Returns:
            Float32 tensor [M], in the order of `Targets.ids`.

        Raises:
            ValueError: If `inputs` lacks a key.
        """
        logits, targets, _ = self.logits_of_targets(inputs, training)
        return -tf.nn.sparse_softmax_cross_entropy_with_logits(labels=targets.ids, logits=logits)

    def logits_of_targets(
        self, inputs: dict[str, tf.Tensor], training: bool
    ) -> tuple[tf.Tensor, Targets, tf.Tensor]:
        """Computes the logits of all words for every target of a batch.

        Args:
            inputs: A batch, see the class.
            training: Whether dropout is applied.

        Returns:
            Logits, float32 tensor [M, V], the targets, and the sum of the penalties of the loss.

        Raises:
            ValueError: If `inputs` lacks a key.
        """
        targets = self._targets(inputs, training)
        hidden, penalty = self.hidden_of_targets(inputs, targets, training)
        return self._logits(hidden), targets, penalty

    def loss_shares(
        self, data: dict[str, tf.Tensor], training: bool
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Computes the contribution of this replica to the global loss.

        Args:
            data: A batch, see the class.
            training: Whether dropout and label smoothing are applied.

        Returns:
            Three scalars: the shares of this replica of the global loss and of the negative
            log-likelihood in it, and the global number of targets.
        """
        logits, targets, penalty = self.logits_of_targets(data, training)
        surprise = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=targets.ids, logits=logits)
        count = all_reduce_sum(tf.cast(tf.size(surprise), surprise.dtype))
        divisor = tf.maximum(count, 1.0)
        surprise_share = tf.reduce_sum(surprise) / divisor
        loss_share = surprise_share
        if self.label_smoothing and training:
            of_all = tf.reduce_logsumexp(logits, axis=-1) - tf.reduce_mean(logits, axis=-1)
            smoothing = self.label_smoothing
            loss_share = (1 - smoothing) * surprise_share + smoothing * (
                tf.reduce_sum(of_all) / divisor
            )
        penalty = tf.cast(penalty, divisor.dtype)
        return loss_share + penalty / divisor, surprise_share, count

    def train_step(self, data: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Takes one step of the optimizer on a batch, see the class."""
        with tf.GradientTape() as tape:
            loss_share, surprise_share, count = self.loss_shares(data, training=True)
        apply_global_gradients(self, tape, loss_share, self.clip_value)
        return self._update_metrics(loss_share, surprise_share, count)

    def test_step(self, data: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Computes the loss and the perplexity of a batch, see the class."""
        return self._update_metrics(*self.loss_shares(data, training=False))

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """The running `loss` and `perplexity`, weighted by the number of targets per batch."""
        return [self._loss_mean, self._perplexity]

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        encoder = self.region_encoder
        return {
            **super().get_config(),
            "vocabulary_size": self.vocabulary_size,
            "hidden_dim": self.hidden_dim,
            "word_dim": self.word_dim,
            "cell": self.cell,
            "dropout": self.dropout,
            "image_dropout": self.image_dropout,
            "word_dropout": self.word_dropout_rate,
            "label_smoothing": self.label_smoothing,
            "feature_scale": self.feature_scale,
            "clip_value": self.clip_value,
            "region_encoder": encoder and keras.saving.serialize_keras_object(encoder),
        }

    @classmethod
    def from_config(
        cls: type[Generator], config: dict[str, Any], custom_objects: Any = None
    ) -> Generator:
        """Creates the model that `get_config` describes, ignoring the arguments in `RETIRED`."""
        config = {name: value for name, value in config.items() if name not in RETIRED}
        if config.get("region_encoder") is not None:
            config["region_encoder"] = keras.saving.deserialize_keras_object(
                config["region_encoder"], custom_objects=custom_objects
            )
        return cls(**config)

    def _build_inputs(self, feature_dim: int | None) -> int | None:
        """Builds the layers of word and CNN vectors; returns the length of the image vectors."""
        if not self.word_vectors.built:
            self.word_vectors.build((None,))
        self.feature_dim = feature_dim
        if self.region_encoder is None:
            return feature_dim
        if not self.region_encoder.built:
            self.region_encoder.build((None, None, feature_dim))
        return self.region_encoder.embedding_dim

    def _first_bias(self, extra: int = 0) -> Callable[..., tf.Tensor]:
        """An initialiser of b, with zeros for `extra` more outputs."""
        values = np.pad(self._cell.first_bias(self.hidden_dim), (0, extra))
        return lambda shape, dtype=None: tf.constant(values, dtype or tf.float32, shape)

    def _logits(self, hidden: tf.Tensor) -> tf.Tensor:
        """The logits of all words, in float32 where the model computes in half precision."""
        logits = self.output_projection(hidden)
        return tf.cast(logits, keras.backend.result_type(logits.dtype, "float32"))

    def _targets(self, inputs: dict[str, tf.Tensor], training: bool) -> Targets:
        """The targets of a batch; checks the batch, and builds the model if necessary."""
        for name in ("region_features" if self.reads_regions else "image_features", "token_ids"):
            if name not in inputs:
                raise ValueError(f"inputs must hold {name!r}, not only {sorted(inputs)}")
        if not self.built:
            self.build({name: tuple(value.shape) for name, value in inputs.items()})
        token_ids = tf.transpose(inputs["token_ids"])  # [1 + T, B]
        steps = tf.reduce_max(
            tf.concat([[1], tf.reduce_sum(tf.cast(token_ids[1:] != PAD_ID, tf.int32), 0)], 0)
        )  # of the longest sentence, at least one
        words, ids = token_ids[:steps], token_ids[1 : steps + 1]
        places = tf.where(ids != PAD_ID)  # [M, 2]
        words = self.replaced_words(words, training=training)
        return Targets(words, tf.gather_nd(ids, places), places)

    def _update_metrics(
        self, loss_share: tf.Tensor, surprise_share: tf.Tensor, count: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        shares = all_reduce_sum([loss_share, surprise_share])
        for metric, value in zip(self.metrics, shares, strict=True):
            metric.update_state(value, sample_weight=count)
        return {metric.name: metric.result() for metric in self.metrics}
