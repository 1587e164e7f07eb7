"""Gated recurrent units in place of the paper's bidirectional network."""

import keras
import tensorflow as tf

from visem_tf.models.bigru import bidirectional_gru
from visem_tf.models.words_in_context import WordsInContext


@keras.saving.register_keras_serializable(package="visem_tf")
class GruSentenceEncoder(WordsInContext):
    """Word embeddings s_t from gated recurrent units in both directions, as in SCAN.

        hf_t = GRU(x_t, hf_{t-1})      left to right
        hb_t = GRU(x_t, hb_{t+1})      right to left, from the sentence's own last word
        s_t  = W_d (hf_t + hb_t) / 2 + b_d

    Dropout falls on x_t and on the mean of both directions. Unlike the paper's, s_t may be
    negative. `WordsInContext` explains the arguments.

    Example:
      >>> import tensorflow as tf
      >>> encoder = GruSentenceEncoder(10, embedding_dim=8, hidden_dim=6, word_dim=4)
      >>> encoder(tf.constant([[5, 6, 7], [8, 0, 0]])).shape
      TensorShape([2, 3, 8])
    """

    def make_layers(self) -> None:
        """Makes what the equations need, in the order of their random initial values."""
        layers, common = keras.layers, {"dtype": self.dtype_policy}
        self.word_vectors = self._make_word_vectors()
        self.forward_projection = layers.Dense(3 * self.hidden_dim, use_bias=False, **common)
        self.backward_projection = layers.Dense(3 * self.hidden_dim, use_bias=False, **common)
        self.output_projection = layers.Dense(self.embedding_dim, **common)
        self.word_dropout = layers.Dropout(self.dropout, **common)
        self.context_dropout = layers.Dropout(self.dropout_hidden, **common)

    def build(self, input_shape: tuple[int | None, ...] | None = None) -> None:
        """Makes the weights."""
        hidden_dim = self.hidden_dim
        for direction in ("forward", "backward"):
            kernel = self.add_weight(
                shape=(hidden_dim, 3 * hidden_dim),
                initializer="orthogonal",
                name=f"{direction}_kernel",
            )
            bias = self.add_weight(
                shape=(3 * hidden_dim,), initializer="zeros", name=f"{direction}_bias"
            )
            setattr(self, f"{direction}_kernel", kernel)
            setattr(self, f"{direction}_bias", bias)
        self.word_vectors.build((None,))
        self.forward_projection.build((None, self.word_dim))
        self.backward_projection.build((None, self.word_dim))
        self.output_projection.build((None, hidden_dim))
        self.built = True

    def in_context(self, words: tf.Tensor, lengths: tf.Tensor, training: bool) -> tf.Tensor:
        """The equations above, from x_t on."""
        recurrent_weights = (
            tf.cast(weight, words.dtype)
            for weight in (
                self.forward_kernel,
                self.forward_bias,
                self.backward_kernel,
                self.backward_bias,
            )
        )
        words = 0.5 * bidirectional_gru(
            self.forward_projection(words),
            self.backward_projection(words),
            lengths,
            *recurrent_weights,
        )
        return self.output_projection(self.context_dropout(words, training=training))
