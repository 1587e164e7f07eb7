"""What all generators share: words in and words out, the loss, its masks, and the training step."""

import abc
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from visem_tf.models.cells import get_cell
from visem_tf.models.global_batch import GlobalBatchModel, all_reduce_sum, apply_global_gradients
from visem_tf.models.word_dropout import WordDropout
from visem_tf.text import PAD_ID

RETIRED = frozenset({"scheduled_sampling", "sampling_steps", "sampled_words"})
"""Arguments of earlier versions, which only training used; old files may still name them."""


@keras.saving.register_keras_serializable(package="visem_tf")
class Perplexity(keras.metrics.Mean):
    """exp of the mean negative log-likelihood of a word; unknown words count as `<unk>`."""

    def result(self) -> Any:
        """The perplexity so far, a scalar."""
        return keras.ops.exp(super().result())


class Targets(NamedTuple):
    """The words that a batch of sentences asks for, and the words before them.

    Attributes:
      words: int32 [T, B], START first: what the generator is told.
      ids: int32 [M], the targets, step by step (all first words, then all second ones), no PAD.
      places: int64 [M, 2], step and sentence of every target.
    """

    words: tf.Tensor
    ids: tf.Tensor
    places: tf.Tensor


class SentenceGenerator(GlobalBatchModel, abc.ABC):
    """A model that gives the next word of a sentence, given a picture.

    It is trained by `fit` on dictionaries that hold `token_ids` int32 [B, 1 + T] (START, the words,
    END, then PAD) beside what the generator reads of a picture, towards the mean negative
    log-likelihood of the targets: of a sentence of N words exactly N words and one END. The mean is
    over all targets of the *global* batch, so that the number of replicas changes nothing;
    gradients are clipped element-wise after they were summed over them. PAD is never a target and
    costs nothing: the word and the vocabulary layer see real tokens only.

    Logged are "loss", what is descended, and "perplexity", of the likelihood alone; without label
    smoothing and penalties the second is exp of the first.

    A subclass makes its layers, `output_projection` among them (`make_layers`),
    and says how to get from words to what the latter takes (`hidden_of_targets`), and how to decode
    (`initial_state`, `step`).

    Args:
      vocabulary_size: V, with the four special tokens.
      hidden_dim: H.
      word_dim: size of the word vectors x_t.
      cell: the recurrence, a module of `visem_tf.models.cells`.
      dropout: rate in [0, 1) for word vectors and for what enters the output layer.
      image_dropout: rate in [0, 1) for what comes from the picture.
      word_dropout: share of the input words that are replaced by UNK in training; START stays.
      label_smoothing: what the loss gives to all words alike: (1 - e) times the negative
        log-likelihood of the target plus e times the mean over the vocabulary.
      feature_scale: length that CNN features are brought to first; 0 leaves them as they are.
      clip_value: largest absolute value of an element of the gradient; None: no clipping.
      word_vectors: another model's, built, to share them in training; a saved generator has its
        own. None makes new ones.
    """

    needs: tuple[str, ...] = ("image_features", "token_ids")
    """What a batch must hold."""
    reads_regions: bool = False
    """Whether decoding takes the regions of pictures, or one vector each."""

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
        word_vectors: keras.layers.Embedding | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        for name, size in (
            ("vocabulary_size", vocabulary_size),
            ("hidden_dim", hidden_dim),
            ("word_dim", word_dim),
        ):
            if size < 1:
                raise ValueError(f"{name} must be at least 1, got {size}")
        if clip_value is not None and not clip_value > 0:
            raise ValueError(f"clip_value must be above 0, or None, got {clip_value}")
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing must be in [0, 1), got {label_smoothing}")
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
        self.make_layers()

    def _build_word_vectors(self) -> None:
        if not self.word_vectors.built:
            self.word_vectors.build((None,))

    @abc.abstractmethod
    def make_layers(self) -> None:
        """Makes the layers; called once, when the arguments are known."""

    @abc.abstractmethod
    def hidden_of_targets(
        self, inputs: dict[str, tf.Tensor], targets: Targets, training: bool
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """What the output layer makes words of, for every target of a batch.

        Args:
          inputs: a batch, see the class.
          targets: its targets.
          training: whether dropout is on.

        Returns:
          float [M, ...] in the order of the targets, and the sum over the sentences of what the
          loss adds for other reasons than words, a scalar.
        """

    @abc.abstractmethod
    def initial_state(self, image_features: Any) -> Any:
        """The state before START, see `visem_tf.decoding.StepwiseModel`."""

    @abc.abstractmethod
    def step(self, token_ids: tf.Tensor, state: Any) -> tuple[tf.Tensor, Any]:
        """One step of decoding, see `visem_tf.decoding.StepwiseModel`."""

    @abc.abstractmethod
    def inputs_of_pictures(self, region_features: Any, region_mask: Any) -> Any:
        """What `initial_state` takes, of pictures whose regions are known.

        Args:
          region_features: float [B, R, F]; region 0 is the whole frame.
          region_mask: bool [B, R], True = real.
        """

    @abc.abstractmethod
    def batch_of(self, inputs: Any, token_ids: tf.Tensor) -> dict[str, tf.Tensor]:
        """A batch to train on: what `inputs_of_pictures` gives, with sentences int32 [B, 1 + T]."""

    @abc.abstractmethod
    def adapt(self, features: np.ndarray) -> None:
        """Centres CNN features, see `visem_tf.models.feature_scale`.

        Args:
          features: float [N, F], a sample of the training's.
        """

    @abc.abstractmethod
    def input_specs(self) -> Any:
        """The types of what `inputs_of_pictures` gives, for compiled searches."""

    def log_likelihood(self, inputs: dict[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """Log-probability of every target of a batch, in one pass over real tokens only.

        Args:
          inputs: a batch, see the class.
          training: whether dropout is on.

        Returns:
          float32 [M], one for every token after START that is not PAD, step by step (all first
          words, then all second ones).

        Raises:
          ValueError: if `inputs` lacks something.
        """
        targets = self._targets(inputs, training)
        logits = self._logits(self.hidden_of_targets(inputs, targets, training)[0])
        return -tf.nn.sparse_softmax_cross_entropy_with_logits(labels=targets.ids, logits=logits)

    def train_step(self, data: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """One step of the optimizer; see the class for `data`."""
        with tf.GradientTape() as tape:
            loss_share, surprise_share, count = self.loss_shares(data, training=True)
        apply_global_gradients(self, tape, loss_share, self.clip_value)
        return self._update_metrics(loss_share, surprise_share, count)

    def test_step(self, data: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Loss and perplexity of a batch; see the class for `data`."""
        return self._update_metrics(*self.loss_shares(data, training=False))

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """Running `loss` and `perplexity`, weighted by the number of targets of each batch."""
        return [self._loss_mean, self._perplexity]

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
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
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "SentenceGenerator":
        """Makes the model that `get_config` described, without options that no longer exist."""
        config = {name: value for name, value in config.items() if name not in RETIRED}
        if config.get("region_encoder") is not None:
            config["region_encoder"] = keras.saving.deserialize_keras_object(
                config["region_encoder"], custom_objects=custom_objects
            )
        return cls(**config)

    def _first_bias(self, extra: int = 0) -> Callable[..., tf.Tensor]:
        """An initialiser for b, and zeros for `extra` more outputs."""
        values = np.pad(self._cell.first_bias(self.hidden_dim), (0, extra))
        return lambda shape, dtype=None: tf.constant(values, dtype or tf.float32, shape)

    def _logits(self, hidden: tf.Tensor) -> tf.Tensor:
        """Scores of all words, in float32 where the model computes in half precision."""
        logits = self.output_projection(hidden)
        return tf.cast(logits, keras.backend.result_type(logits.dtype, "float32"))

    def _targets(self, inputs: dict[str, tf.Tensor], training: bool) -> Targets:
        """The targets of a batch; checks it, and makes the weights if there are none."""
        for name in self.needs:
            if name not in inputs:
                raise ValueError(f"inputs must hold {name!r}, got {sorted(inputs)}")
        if not self.built:
            self.build({name: tuple(value.shape) for name, value in inputs.items()})
        token_ids = tf.transpose(inputs["token_ids"])  # [1 + T, B]
        steps = tf.reduce_max(
            tf.concat([[1], tf.reduce_sum(tf.cast(token_ids[1:] != PAD_ID, tf.int32), 0)], 0)
        )  # of the longest sentence; one where there is none
        words, ids = token_ids[:steps], token_ids[1 : steps + 1]
        places = tf.where(ids != PAD_ID)  # [M, 2]
        targets = Targets(words, tf.gather_nd(ids, places), places)
        return targets._replace(words=self.replaced_words(words, training=training))

    def logits_of_targets(
        self, inputs: dict[str, tf.Tensor], training: bool
    ) -> tuple[tf.Tensor, Targets, tf.Tensor]:
        """Scores of all words for every target of a batch.

        Args:
          inputs: a batch, see the class.
          training: whether dropout is on.

        Returns:
          Logits float32 [M, V], the targets, and the sum of what the loss adds for other reasons.

        Raises:
          ValueError: if `inputs` lacks something.
        """
        targets = self._targets(inputs, training)
        hidden, penalty = self.hidden_of_targets(inputs, targets, training)
        return self._logits(hidden), targets, penalty

    def loss_shares(
        self, data: dict[str, tf.Tensor], training: bool
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """This replica's shares of the global loss and of the negative log-likelihood in it, and
        the global number of targets.

        Args:
          data: a batch, see the class.
          training: whether dropout is on.
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

    def _update_metrics(
        self, loss_share: tf.Tensor, surprise_share: tf.Tensor, count: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        shares = all_reduce_sum([loss_share, surprise_share])
        for metric, value in zip(self.metrics, shares, strict=True):
            metric.update_state(value, sample_weight=count)
        return {metric.name: metric.result() for metric in self.metrics}
