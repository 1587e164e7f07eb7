"""The multimodal recurrent network that writes a sentence for a picture (paper, section 3)."""

from typing import Any

import keras
import tensorflow as tf

from visem_tf.models.feature_scale import FeatureScale
from visem_tf.models.training import all_reduce_sum, apply_global_gradients
from visem_tf.text import PAD_ID


@keras.saving.register_keras_serializable(package="visem_tf")
class Perplexity(keras.metrics.Mean):
    """exp of the mean negative log-likelihood of a word; unknown words count as `<unk>`."""

    def result(self) -> Any:
        """The perplexity so far, a scalar."""
        return keras.ops.exp(super().result())


@keras.saving.register_keras_serializable(package="visem_tf")
class CaptionGenerator(keras.Model):
    """The paper's multimodal RNN: the words of a sentence, given a picture (section 3).

        b_v = W_hi CNN(I)
        h_t = relu(W_hx x_t + W_hh h_{t-1} + b_h + [t = 1] b_v)        h_0 = 0
        y_t = softmax(W_oh h_t + b_o)

    x_1 is START and the target of the last word is END. The picture enters at t = 1 only. It is
    trained by `fit` on dictionaries with

    * `image_features` float [B, F], of the picture or of one of its regions, and
    * `token_ids` int32 [B, 1 + T]: START, the words, END, then PAD,

    towards the mean negative log-likelihood of the targets: of a sentence of N words exactly N
    words and one END. The mean is over all targets of the *global* batch, so that the number of
    replicas changes nothing; gradients are clipped element-wise after they were summed over them.
    PAD is never a target and costs nothing: the word and the vocabulary layer see real tokens only.

    The recurrence starts as an orthogonal matrix (of gain 1), which keeps the length of what it
    carries over until words push against it; everything else starts as Keras has it (Glorot, zero
    biases). Dropout falls on the word vectors, on b_v and on h_t before the output layer; it never
    enters the recurrence.

    Args:
      vocabulary_size: V, with the four special tokens.
      hidden_dim: H.
      word_dim: size of the word vectors x_t.
      dropout: rate in [0, 1) for word vectors and for h_t before the output layer.
      image_dropout: rate in [0, 1) for b_v.
      feature_scale: length that CNN features are brought to first; 0 leaves them as they are.
      clip_value: largest absolute value of an element of the gradient; None: no clipping.

    Example:
        >>> import numpy as np
        >>> generator = CaptionGenerator(vocabulary_size=10, hidden_dim=8, word_dim=6)
        >>> inputs = {"image_features": np.zeros([2, 5], "float32"),
        ...           "token_ids": np.array([[1, 4, 5], [1, 6, 0]], "int32")}
        >>> tuple(generator(inputs).shape)
        (2, 3, 10)
    """

    def __init__(
        self,
        vocabulary_size: int,
        hidden_dim: int = 512,
        word_dim: int = 512,
        dropout: float = 0.0,
        image_dropout: float = 0.0,
        feature_scale: float = 0.0,
        clip_value: float | None = 5.0,
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
        self.vocabulary_size = vocabulary_size
        self.hidden_dim = hidden_dim
        self.word_dim = word_dim
        self.dropout = dropout
        self.image_dropout = image_dropout
        self.feature_scale = feature_scale
        self.clip_value = clip_value
        self.supports_jit = False  # the number of real tokens differs from batch to batch

        layers, common = keras.layers, {"dtype": self.dtype_policy}
        self.word_vectors = layers.Embedding(vocabulary_size, word_dim, **common)  # x_t
        self.word_projection = layers.Dense(hidden_dim, use_bias=False, **common)  # W_hx
        self.scaling = FeatureScale(feature_scale, **common)
        self.image_projection = layers.Dense(hidden_dim, use_bias=False, **common)  # W_hi
        self.recurrence = layers.Dense(
            hidden_dim, kernel_initializer="orthogonal", **common
        )  # W_hh, b_h
        self.output_projection = layers.Dense(vocabulary_size, **common)  # W_oh, b_o
        self.word_dropout = layers.Dropout(dropout, **common)
        self.image_vector_dropout = layers.Dropout(image_dropout, **common)
        self.hidden_dropout = layers.Dropout(dropout, **common)
        self._loss_mean = keras.metrics.Mean(name="loss")
        self._perplexity = Perplexity(name="perplexity")

    def build(self, input_shape: dict[str, tuple[int | None, ...]]) -> None:
        """Creates the weights; only the size F of `image_features` is read from the shapes."""
        self.word_vectors.build((None,))
        self.word_projection.build((None, self.word_dim))
        self.scaling.build((None, input_shape["image_features"][-1]))
        self.image_projection.build((None, input_shape["image_features"][-1]))
        self.recurrence.build((None, self.hidden_dim))
        self.output_projection.build((None, self.hidden_dim))

    def call(self, inputs: dict[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """Scores of every word at every step.

        Args:
          inputs: `image_features` float [B, F] and `token_ids` int32 [B, T], START first. A longer
            padding changes nothing; what comes out in the padding means nothing.
          training: whether dropout is on.

        Returns:
          Logits float32 [B, T, V] of the word that follows each token.
        """
        words = tf.transpose(inputs["token_ids"])  # [T, B]
        vectors = self.word_dropout(self.word_vectors(words), training=training)
        hidden = _unroll(
            self.word_projection(vectors),
            self._first_state(inputs["image_features"], training),
            self.recurrence.kernel,
            self.recurrence.bias,
        )
        hidden = self.hidden_dropout(tf.transpose(hidden, [1, 0, 2]), training=training)
        return self._logits(hidden)

    def initial_state(self, image_features: tf.Tensor) -> tf.Tensor:
        """The state before START: what enters h_1 beside its word.

        h_0 = 0, so that is b_h + b_v. Later states are W_hh h_{t-1} + b_h: the picture is in them
        through h_1 only.

        Args:
          image_features: float [B, F].

        Returns:
          float [B, H].
        """
        self._build_for(image_features)
        return self._first_state(image_features, training=False)

    def step(self, token_ids: tf.Tensor, state: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """One step of decoding.

        Args:
          token_ids: int32 [B], START or the words chosen last.
          state: float [B, H], of `initial_state` or of the last step.

        Returns:
          The log-probabilities float32 [B, V] of the next words, and the next state [B, H].
        """
        hidden = tf.nn.relu(self.word_projection(self.word_vectors(token_ids)) + state)
        return tf.nn.log_softmax(self._logits(hidden)), self.recurrence(hidden)

    def log_likelihood(self, inputs: dict[str, tf.Tensor], training: bool = False) -> tf.Tensor:
        """Log-probability of every target of a batch, in one pass over real tokens only.

        Args:
          inputs: `image_features` float [B, F] and `token_ids` int32 [B, 1 + T]: START, the words,
            END, PAD.
          training: whether dropout is on.

        Returns:
          float32 [M], one for every token after START that is not PAD, step by step (all first
          words, then all second ones).

        Raises:
          ValueError: if `inputs` lacks one of the two.
        """
        for name in ("image_features", "token_ids"):
            if name not in inputs:
                raise ValueError(f"inputs must hold {name!r}, got {sorted(inputs)}")
        self._build_for(inputs["image_features"])
        token_ids = tf.transpose(inputs["token_ids"])  # [1 + T, B]
        steps = tf.reduce_max(
            tf.concat([[1], tf.reduce_sum(tf.cast(token_ids[1:] != PAD_ID, tf.int32), 0)], 0)
        )  # of the longest sentence; one where there is none
        words, targets = token_ids[:steps], token_ids[1 : steps + 1]
        real = tf.where(targets != PAD_ID)  # [M, 2]

        vectors = self.word_vectors(tf.gather_nd(words, real))
        projected = self.word_projection(self.word_dropout(vectors, training=training))  # [M, H]
        shape = tf.concat([tf.shape(targets, tf.int64), [self.hidden_dim]], 0)
        hidden = _unroll(
            tf.scatter_nd(real, projected, shape),
            self._first_state(inputs["image_features"], training),
            self.recurrence.kernel,
            self.recurrence.bias,
        )
        hidden = self.hidden_dropout(tf.gather_nd(hidden, real), training=training)  # [M, H]
        return -tf.nn.sparse_softmax_cross_entropy_with_logits(
            labels=tf.gather_nd(targets, real), logits=self._logits(hidden)
        )

    def train_step(self, data: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """One step of the optimizer; see the class for `data`."""
        with tf.GradientTape() as tape:
            loss_share, count = self._loss_share(data, training=True)
        apply_global_gradients(self, tape, loss_share, self.clip_value)
        return self._update_metrics(loss_share, count)

    def test_step(self, data: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Loss and perplexity of a batch; see the class for `data`."""
        return self._update_metrics(*self._loss_share(data, training=False))

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
            "dropout": self.dropout,
            "image_dropout": self.image_dropout,
            "feature_scale": self.feature_scale,
            "clip_value": self.clip_value,
        }

    def _first_state(self, image_features: tf.Tensor, training: bool) -> tf.Tensor:
        """b_h + b_v, float [B, H]."""
        b_v = self.image_vector_dropout(
            self.image_projection(self.scaling(image_features)), training=training
        )
        return b_v + tf.cast(self.recurrence.bias, b_v.dtype)

    def _logits(self, hidden: tf.Tensor) -> tf.Tensor:
        """Scores of all words, in float32 where the model computes in half precision."""
        logits = self.output_projection(hidden)
        return tf.cast(logits, keras.backend.result_type(logits.dtype, "float32"))

    def _loss_share(
        self, data: dict[str, tf.Tensor], training: bool
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """This replica's share of the global loss, and the global number of targets."""
        log_probs = self.log_likelihood(data, training=training)
        count = all_reduce_sum(tf.cast(tf.size(log_probs), log_probs.dtype))
        return -tf.reduce_sum(log_probs) / tf.maximum(count, 1.0), count

    def _update_metrics(self, loss_share: tf.Tensor, count: tf.Tensor) -> dict[str, tf.Tensor]:
        loss = all_reduce_sum(loss_share)
        for metric in self.metrics:
            metric.update_state(loss, sample_weight=count)
        return {metric.name: metric.result() for metric in self.metrics}

    def _build_for(self, image_features: tf.Tensor) -> None:
        if not self.built:
            self.build({"image_features": tuple(image_features.shape), "token_ids": (None, None)})


def _unroll(inputs: tf.Tensor, state: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    """h_t = relu(x_t + s_t) with s_{t+1} = h_t W + b, over the steps of a batch.

    Args:
      inputs: x, float [T, B, H].
      state: s_1, float [B, H].
      kernel: W, [H, H].
      bias: b, [H].

    Returns:
      h, float [T, B, H].
    """
    kernel, bias = tf.cast(kernel, inputs.dtype), tf.cast(bias, inputs.dtype)
    steps = tf.shape(inputs)[0]
    all_inputs = tf.TensorArray(inputs.dtype, steps).unstack(inputs)
    all_hidden = tf.TensorArray(
        inputs.dtype, steps, element_shape=[inputs.shape[1], kernel.shape[-1]]
    )

    def body(t: tf.Tensor, state: tf.Tensor, all_hidden: tf.TensorArray) -> tuple:
        hidden = tf.nn.relu(all_inputs.read(t) + state)
        return t + 1, tf.matmul(hidden, kernel) + bias, all_hidden.write(t, hidden)

    loop = (tf.constant(0), state, all_hidden)
    invariants = (
        tf.TensorShape([]),
        tf.TensorShape([None, kernel.shape[-1]]),
        tf.TensorShape(None),
    )
    all_hidden = tf.while_loop(
        lambda t, *_: t < steps,
        body,
        loop,
        shape_invariants=invariants,
        maximum_iterations=steps,
    )[2]
    return all_hidden.stack()
