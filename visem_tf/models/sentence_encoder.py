"""The paper's bidirectional recurrent network (BRNN): a word in the context of its sentence."""

import keras
import tensorflow as tf

from visem_tf.models.brnn import bidirectional_recurrence
from visem_tf.models.words_in_context import WordsInContext


@keras.saving.register_keras_serializable(package="visem_tf")
class SentenceEncoder(WordsInContext):
    """Word embeddings s_t that lie in one space with the embeddings of regions (section 1).

    With f the ReLU:

        x_t  = W_w onehot(t)
        e_t  = f(W_e x_t + b_e)
        hf_t = f(e_t + W_f hf_{t-1} + b_f)      left to right
        hb_t = f(e_t + W_b hb_{t+1} + b_b)      right to left, from the sentence's own last word
        s_t  = f(W_d (hf_t + hb_t) + b_d)

    Only real words are computed, so padding costs nothing and changes nothing. Dropout falls on
    x_t, e_t and hf_t + hb_t, never inside the recurrences.

    Initial values keep the length of a vector on its way: word vectors have length about 1, the
    kernels W_e and W_d a variance of 2 over the number of outputs, W_f and W_b are orthogonal times
    one half, so that what a word leaves behind fades within a few steps.

    `WordsInContext` explains the arguments; `dropout` falls on x_t and on e_t.

    Example:
      >>> import tensorflow as tf
      >>> encoder = SentenceEncoder(vocabulary_size=10, embedding_dim=8, hidden_dim=6, word_dim=4)
      >>> encoder(tf.constant([[5, 6, 7], [8, 0, 0]])).shape
      TensorShape([2, 3, 8])
    """

    def make_layers(self) -> None:
        """Makes what the equations need, in the order of their random initial values."""
        keep_length = keras.initializers.VarianceScaling(
            2.0, mode="fan_out", distribution="untruncated_normal"
        )
        policy = self.dtype_policy
        self.word_vectors = self._make_word_vectors()
        self.word_projection = keras.layers.Dense(
            self.hidden_dim,
            activation="relu",
            kernel_initializer=keep_length.clone(),
            dtype=policy,
            name="word_projection",
        )
        self.output_projection = keras.layers.Dense(
            self.embedding_dim,
            activation="relu",
            kernel_initializer=keep_length.clone(),
            dtype=policy,
            name="output_projection",
        )
        self.word_dropout = keras.layers.Dropout(self.dropout, dtype=policy)
        self.projection_dropout = keras.layers.Dropout(self.dropout, dtype=policy)
        self.context_dropout = keras.layers.Dropout(self.dropout_hidden, dtype=policy)

    def build(self, input_shape: tuple[int | None, ...] | None = None) -> None:
        """Makes the weights."""
        hidden_dim = self.hidden_dim
        for direction in ("forward", "backward"):
            kernel = self.add_weight(
                shape=(hidden_dim, hidden_dim),
                initializer=keras.initializers.Orthogonal(gain=0.5),
                name=f"{direction}_kernel",
            )
            bias = self.add_weight(
                shape=(hidden_dim,), initializer="zeros", name=f"{direction}_bias"
            )
            setattr(self, f"{direction}_kernel", kernel)
            setattr(self, f"{direction}_bias", bias)
        self.word_vectors.build((None,))
        self.word_projection.build((None, self.word_dim))
        self.output_projection.build((None, hidden_dim))
        self.built = True

    def in_context(self, words: tf.Tensor, lengths: tf.Tensor, training: bool) -> tf.Tensor:
        """The equations above, from x_t on."""
        words = self.word_projection(words)  # e_t [words, H]
        words = self.projection_dropout(words, training=training)
        recurrent_weights = (
            tf.cast(weight, words.dtype)
            for weight in (
                self.forward_kernel,
                self.forward_bias,
                self.backward_kernel,
                self.backward_bias,
            )
        )
        words = bidirectional_recurrence(words, lengths, *recurrent_weights)  # hf_t + hb_t
        words = self.context_dropout(words, training=training)
        return self.output_projection(words)  # s_t [words, D]
