"""The multimodal recurrent network that writes a sentence for a picture (paper, section 3)."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from visem_tf.models.cells import Cell
from visem_tf.models.feature_scale import FeatureScale
from visem_tf.models.region_encoder import RegionEncoder
from visem_tf.models.sentence_generator import SentenceGenerator, Targets

State = tuple[tf.Tensor, ...]


@keras.saving.register_keras_serializable(package="visem_tf")
class CaptionGenerator(SentenceGenerator):
    """The paper's multimodal RNN: the words of a sentence, given a picture (section 3).

        b_v = W_hi CNN(I)
        h_t = relu(W_hx x_t + W_hh h_{t-1} + b_h + [t = 1] b_v)        h_0 = 0
        y_t = softmax(W_oh h_t + b_o)

    x_1 is START and the target of the last word is END. The picture enters at t = 1 only. With
    another `cell` than the paper's the picture enters in the same place: b_v stands beside
    W_hh h_0, for all gates. It is trained by `fit` on dictionaries with

    * `image_features` float [B, F], of the picture or of one of its regions, and
    * `token_ids` int32 [B, 1 + T]: START, the words, END, then PAD;

    `SentenceGenerator` says towards what.

    The recurrence starts as an orthogonal matrix (of gain 1), which keeps the length of what it
    carries over until words push against it; everything else starts as Keras has it (Glorot, zero
    biases). Dropout falls on the word vectors, on b_v and on h_t before the output layer; it never
    enters the recurrence.

    Args:
      region_encoder: b_v = W_hi v, of the alignment's embedding of the picture or region in place
        of the CNN's features; trained as far as it is trainable. None: of the CNN's features.
      kwargs: the arguments of `SentenceGenerator`, which explains them.

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
        region_encoder: RegionEncoder | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(vocabulary_size, hidden_dim, word_dim, **kwargs)
        self.region_encoder = region_encoder

    def make_layers(self) -> None:
        """Makes what the equations need, in the order of their random initial values."""
        layers, common = keras.layers, {"dtype": self.dtype_policy}
        width = self._cell.gates * self.hidden_dim
        self.word_projection = layers.Dense(width, use_bias=False, **common)  # W_hx
        self.scaling = FeatureScale(self.feature_scale, **common)
        self.image_projection = layers.Dense(width, use_bias=False, **common)  # W_hi
        self.recurrence = layers.Dense(
            width,
            kernel_initializer="orthogonal",
            bias_initializer=self._first_bias(),
            **common,
        )  # W_hh, b_h
        self.output_projection = layers.Dense(self.vocabulary_size, **common)  # W_oh, b_o
        self.word_dropout = layers.Dropout(self.dropout, **common)
        self.image_vector_dropout = layers.Dropout(self.image_dropout, **common)
        self.hidden_dropout = layers.Dropout(self.dropout, **common)

    def build(self, input_shape: dict[str, tuple[int | None, ...]]) -> None:
        """Creates the weights; only the size F of `image_features` is read from the shapes."""
        feature_dim = input_shape["image_features"][-1]
        if self.region_encoder is not None:
            if not self.region_encoder.built:
                self.region_encoder.build((None, None, feature_dim))
            feature_dim = self.region_encoder.embedding_dim
        self._build_word_vectors()
        self.word_projection.build((None, self.word_dim))
        self.scaling.build((None, feature_dim))
        self.image_projection.build((None, feature_dim))
        self.recurrence.build((None, self.hidden_dim))
        self.output_projection.build((None, self.hidden_dim))

    def adapt(self, features: np.ndarray) -> None:
        """Centres CNN features float [N, F], or their embeddings; see `FeatureScale.adapt`."""
        if self.region_encoder is not None:
            features = self.region_encoder(features[tf.newaxis])[0].numpy()
        self.scaling.adapt(features)

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
        hidden = self._unroll(self.word_projection(vectors), inputs["image_features"], training)
        hidden = self.hidden_dropout(tf.transpose(hidden, [1, 0, 2]), training=training)
        return self._logits(hidden)

    def initial_state(self, image_features: Any) -> State:
        """The state before START: what enters h_1 beside its word, and the cell's memory.

        h_0 = 0, so the first is b_h + b_v. Later ones are W_hh h_{t-1} + b_h: the picture is in
        them through h_1 only.

        Args:
          image_features: float [B, F]; or a dictionary with `region_features` [B, R, F], of which
            region 0, the whole frame, is taken.

        Returns:
          float [B, G H] and, but for the paper's cell, float [B, H].
        """
        if isinstance(image_features, dict):
            image_features = image_features["region_features"][:, 0]
        if not self.built:
            self.build({"image_features": tuple(image_features.shape), "token_ids": (None, None)})
        return self._first_state(image_features, training=False)

    def step(self, token_ids: tf.Tensor, state: State) -> tuple[tf.Tensor, State]:
        """One step of decoding.

        Args:
          token_ids: int32 [B], START or the words chosen last.
          state: of `initial_state` or of the last step.

        Returns:
          The log-probabilities float32 [B, V] of the next words, and the next state.
        """
        recurrent, *memory = state
        hidden, after = self._cell.step(
            self.word_projection(self.word_vectors(token_ids)), recurrent, tuple(memory)
        )
        return tf.nn.log_softmax(self._logits(hidden)), (self.recurrence(hidden), *after)

    def hidden_of_targets(
        self, inputs: dict[str, tf.Tensor], targets: Targets, training: bool
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """h_t [M, H] after dropout; nothing else is added to the loss."""
        words, _, places = targets
        vectors = self.word_vectors(tf.gather_nd(words, places))
        projected = self.word_projection(self.word_dropout(vectors, training=training))  # [M, G H]
        shape = tf.concat([tf.shape(words, tf.int64), [projected.shape[-1]]], 0)
        hidden = self._unroll(
            tf.scatter_nd(places, projected, shape), inputs["image_features"], training
        )
        hidden = self.hidden_dropout(tf.gather_nd(hidden, places), training=training)  # [M, H]
        return hidden, tf.constant(0.0)

    def inputs_of_pictures(self, region_features: Any, region_mask: Any) -> Any:
        """The whole frames, [B, F]."""
        return region_features[:, 0]

    def batch_of(self, inputs: Any, token_ids: tf.Tensor) -> dict[str, tf.Tensor]:
        """Frames [B, F] with sentences [B, 1 + T]."""
        return {"image_features": inputs, "token_ids": token_ids}

    def input_specs(self) -> tf.TensorSpec:
        """float [B, F]."""
        encoder = self.region_encoder
        layer = self.image_projection if encoder is None else encoder.projection
        return tf.TensorSpec([None, layer.kernel.shape[0]], tf.float32)

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor."""
        encoder = self.region_encoder
        return {
            **super().get_config(),
            "region_encoder": encoder and keras.saving.serialize_keras_object(encoder),
        }

    def _first_state(self, image_features: tf.Tensor, training: bool) -> State:
        """b_h + b_v, and the memory of h_0 = 0."""
        if self.region_encoder is not None:
            image_features = self.region_encoder(image_features, training=False)
        b_v = self.image_vector_dropout(
            self.image_projection(self.scaling(image_features)), training=training
        )
        h_0 = tf.zeros_like(b_v[:, : self.hidden_dim])
        return (b_v + tf.cast(self.recurrence.bias, b_v.dtype), *self._cell.first_memory(h_0))

    def _unroll(
        self, word_inputs: tf.Tensor, image_features: tf.Tensor, training: bool
    ) -> tf.Tensor:
        """h [T, B, H] from W_hx x [T, B, G H] and the picture."""
        return _unroll(
            word_inputs,
            self._first_state(image_features, training),
            self.recurrence.kernel,
            self.recurrence.bias,
            self._cell,
        )


def _unroll(
    inputs: tf.Tensor, state: State, kernel: tf.Tensor, bias: tf.Tensor, cell: Cell
) -> tf.Tensor:
    """h_t = cell(x_t, s_t) with s_{t+1} = h_t W + b, over the steps of a batch.

    Args:
      inputs: x, float [T, B, G H].
      state: s_1, float [B, G H], and the memory of the cell.
      kernel: W, [H, G H].
      bias: b, [G H].
      cell: The recurrence.

    Returns:
      h, float [T, B, H].
    """
    kernel, bias = tf.cast(kernel, inputs.dtype), tf.cast(bias, inputs.dtype)
    steps = tf.shape(inputs)[0]
    all_inputs = tf.TensorArray(inputs.dtype, steps).unstack(inputs)
    all_hidden = tf.TensorArray(
        inputs.dtype, steps, element_shape=[inputs.shape[1], kernel.shape[0]]
    )

    def body(t: tf.Tensor, state: State, all_hidden: tf.TensorArray) -> tuple:
        recurrent, *memory = state
        hidden, after = cell.step(all_inputs.read(t), recurrent, tuple(memory))
        return t + 1, (tf.matmul(hidden, kernel) + bias, *after), all_hidden.write(t, hidden)

    loop = (tf.constant(0), state, all_hidden)
    invariants = (
        tf.TensorShape([]),
        tuple(tf.TensorShape([None, part.shape[-1]]) for part in state),
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
