"""The multimodal recurrent network that writes a sentence about an image (paper, section 3.2)."""

from typing import Any

import keras
import tensorflow as tf

from visem_tf.models.generator import SentenceGenerator, Targets
from visem_tf.models.layers import FeatureScale
from visem_tf.models.recurrence import DeferredProduct, Rows, unroll


@keras.saving.register_keras_serializable(package="visem_tf")
class CaptionGenerator(SentenceGenerator):
    """The paper's multimodal RNN: the words of a sentence, given an image (section 3.2).

        b_v = W_hi CNN(I)
        h_t = relu(W_hx x_t + W_hh h_{t-1} + b_h + [t = 1] b_v)        h_0 = 0
        y_t = softmax(W_oh h_t + b_o)

    x_1 is START, and the target of the last word is END. The image enters at t = 1 only. With
    another `cell` than the paper's, it enters at the same place: b_v is added to W_hh h_0, for all
    gates. `fit` takes dictionaries with

    * `image_features`, float [B, F]: CNN features of the image or of one of its regions, and
    * `token_ids`, int32 [B, 1 + T]: START, the words, END, then PAD.

    `SentenceGenerator` describes the loss.

    W_hh is initialised as an orthogonal matrix (of gain 1), which preserves the length of the
    hidden state until words change it; all other weights as Keras does by default (Glorot, zero
    biases). Dropout is applied to the word vectors, to b_v, and to h_t before the output layer,
    never inside the recurrence.

    The arguments are those of `SentenceGenerator`. With a `region_encoder`, b_v = W_hi v for the
    region embedding v of the image; the encoder is trained if it is trainable.

    Example:
        >>> import numpy as np
        >>> generator = CaptionGenerator(vocabulary_size=10, hidden_dim=8, word_dim=6)
        >>> inputs = {"image_features": np.zeros([2, 5], "float32"),
        ...           "token_ids": np.array([[1, 4, 5], [1, 6, 0]], "int32")}
        >>> tuple(generator(inputs).shape)
        (2, 3, 10)
    """

    def make_layers(self) -> None:
        """Creates the layers, in the order of their random initial values."""
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
        """Creates the weights; of the shapes, only the size F of `image_features` is used."""
        image_dim = self._build_inputs(input_shape["image_features"][-1])
        self.word_projection.build((None, self.word_dim))
        self.scaling.build((None, image_dim))
        self.image_projection.build((None, image_dim))
        self.recurrence.build((None, self.hidden_dim))
        self.output_projection.build((None, self.hidden_dim))

    def initial_state(self, image_features: Any) -> Rows:
        """Returns the state before START: W_hh h_{t-1} + b_h, and the memory of the cell.

        Since h_0 = 0, the first of them is b_h + b_v before the first step. The image enters later
        steps through h_1 only.

        Args:
            image_features: Float tensor [B, F], or a dictionary with `region_features` [B, R, F],
                of which region 0, the whole frame, is used.

        Returns:
            Float tensor [B, G H] and, except for the paper's cell, float tensor [B, H].
        """
        if isinstance(image_features, dict):
            image_features = image_features["region_features"][:, 0]
        if not self.built:
            self.build({"image_features": tuple(image_features.shape), "token_ids": (None, None)})
        return self._first_state(image_features, training=False)

    def step(self, token_ids: tf.Tensor, state: Rows) -> tuple[tf.Tensor, Rows]:
        """Computes one step of decoding.

        Args:
            token_ids: Int32 tensor [B], START or the words chosen last.
            state: State of `initial_state` or of the previous step.

        Returns:
            Log-probabilities of the next words, float32 tensor [B, V], and the next state.
        """
        recurrent, *memory = state
        hidden, after = self._cell.step(
            self.word_projection(self.word_vectors(token_ids)), recurrent, tuple(memory)
        )
        return tf.nn.log_softmax(self._logits(hidden)), (self.recurrence(hidden), *after)

    def hidden_of_targets(
        self, inputs: dict[str, tf.Tensor], targets: Targets, training: bool
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Computes h_t [M, H] after dropout. There is no penalty."""
        words, _, places = targets
        vectors = self.word_vectors(tf.gather_nd(words, places))
        projected = self.word_projection(self.word_dropout(vectors, training=training))  # [M, G H]
        kernel, bias = (tf.cast(w, projected.dtype) for w in self.recurrence.weights)
        steps, batch = tf.unstack(tf.shape(words))
        biases = tf.broadcast_to(bias, [steps * batch, bias.shape[0]])
        product = DeferredProduct(biases, kernel)

        def advance(inputs: Rows, state: Rows, count: tf.Tensor) -> tuple[Rows, Rows]:
            words, biases = inputs
            recurrent, *memory = state
            hidden, after = self._cell.step(words, recurrent, tuple(memory))
            return (product.multiply(hidden) + biases, *after), (hidden,)

        row = tf.cast(places[:, 0], tf.int32) * batch + tf.cast(places[:, 1], tf.int32)
        everywhere = tf.scatter_nd(
            row[:, tf.newaxis], projected, [steps * batch, projected.shape[-1]]
        )  # zeros in the padding
        state = self._first_state(inputs["image_features"], training)
        counts = tf.fill([steps], batch)
        inputs_of_steps = (everywhere, product.addends)
        (hidden,) = unroll(advance, inputs_of_steps, counts, state, (self.hidden_dim,))
        product.close(hidden)
        return self.hidden_dropout(tf.gather(hidden, row), training=training), tf.constant(0.0)

    def inputs_of_images(self, region_features: Any, region_mask: Any) -> Any:
        """Returns the features of the whole frames, [B, F]."""
        return region_features[:, 0]

    def batch_of(self, inputs: Any, token_ids: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns a batch of whole frames [B, F] and sentences [B, 1 + T]."""
        return {"image_features": inputs, "token_ids": token_ids}

    def input_specs(self) -> tf.TensorSpec:
        """Returns the type of `inputs_of_images`, float [B, F]."""
        return tf.TensorSpec([None, self.feature_dim], tf.float32)

    def _first_state(self, image_features: tf.Tensor, training: bool) -> Rows:
        """b_h + b_v, and the memory of h_0 = 0."""
        if self.region_encoder is not None:
            image_features = self.region_encoder(image_features, training=False)
        b_v = self.image_vector_dropout(
            self.image_projection(self.scaling(image_features)), training=training
        )
        h_0 = tf.zeros_like(b_v[:, : self.hidden_dim])
        return (b_v + tf.cast(self.recurrence.bias, b_v.dtype), *self._cell.first_memory(h_0))
