"""The paper's bidirectional recurrent network (BRNN): a word in the context of its sentence."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from visem_tf.models.brnn import bidirectional_recurrence
from visem_tf.text import PAD_ID


@keras.saving.register_keras_serializable(package="visem_tf")
class SentenceEncoder(keras.layers.Layer):
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

    Args:
      vocabulary_size: V; token ids are below it, `visem_tf.text.PAD_ID` (0) is padding.
      embedding_dim: D, the length of s_t.
      hidden_dim: H, the length of e_t, hf_t and hb_t.
      word_dim: length of the word vectors x_t.
      dropout: share of the values of x_t and e_t that are dropped in training.
      dropout_hidden: share of the values of hf_t + hb_t that are dropped in training.
      train_words: False keeps the word vectors as they are (the paper's choice with word2vec).

    Example:
      >>> import tensorflow as tf
      >>> encoder = SentenceEncoder(vocabulary_size=10, embedding_dim=8, hidden_dim=6, word_dim=4)
      >>> encoder(tf.constant([[5, 6, 7], [8, 0, 0]])).shape
      TensorShape([2, 3, 8])
    """

    def __init__(
        self,
        vocabulary_size: int,
        embedding_dim: int,
        hidden_dim: int,
        word_dim: int = 300,
        dropout: float = 0.0,
        dropout_hidden: float = 0.0,
        train_words: bool = True,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        sizes = {
            "vocabulary_size": vocabulary_size,
            "embedding_dim": embedding_dim,
            "hidden_dim": hidden_dim,
            "word_dim": word_dim,
        }
        for name, size in sizes.items():
            if size < 1:
                raise ValueError(f"{name} must be at least 1, not {size!r}")
        for name, rate in {"dropout": dropout, "dropout_hidden": dropout_hidden}.items():
            if not 0 <= rate < 1:
                raise ValueError(f"{name} must be in [0, 1), not {rate!r}")
        self.vocabulary_size = vocabulary_size
        self.embedding_dim = embedding_dim
        self.hidden_dim = hidden_dim
        self.word_dim = word_dim
        self.dropout = dropout
        self.dropout_hidden = dropout_hidden
        self.train_words = train_words

        keep_length = keras.initializers.VarianceScaling(
            2.0, mode="fan_out", distribution="untruncated_normal"
        )
        policy = self.dtype_policy
        self.word_vectors = keras.layers.Embedding(
            vocabulary_size,
            word_dim,
            embeddings_initializer=keras.initializers.RandomNormal(stddev=word_dim**-0.5),
            trainable=train_words,
            dtype=policy,
            name="word_vectors",
        )
        self.word_projection = keras.layers.Dense(
            hidden_dim,
            activation="relu",
            kernel_initializer=keep_length.clone(),
            dtype=policy,
            name="word_projection",
        )
        self.output_projection = keras.layers.Dense(
            embedding_dim,
            activation="relu",
            kernel_initializer=keep_length.clone(),
            dtype=policy,
            name="output_projection",
        )
        self.word_dropout = keras.layers.Dropout(dropout, dtype=policy)
        self.projection_dropout = keras.layers.Dropout(dropout, dtype=policy)
        self.context_dropout = keras.layers.Dropout(dropout_hidden, dtype=policy)

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

    def call(self, token_ids: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Embeds the words of sentences.

        Args:
          token_ids: int [N, T], without START and END; `PAD_ID` after a sentence's last word.
          training: whether dropout is on.

        Returns:
          Word embeddings, float [N, T, D]; zeros where `token_ids` is `PAD_ID`.
        """
        mask = tf.not_equal(token_ids, PAD_ID)
        positions = tf.where(mask)  # [words, 2]
        lengths = tf.reduce_sum(tf.cast(mask, tf.int32), axis=1)

        words = self.word_vectors(tf.gather_nd(token_ids, positions))  # x_t [words, word_dim]
        words = self.word_dropout(words, training=training)
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
        words = self.output_projection(words)  # s_t [words, D]

        shape = tf.concat([tf.shape(token_ids), [self.embedding_dim]], axis=0)
        embeddings = tf.scatter_nd(tf.cast(positions, tf.int32), words, shape)
        return tf.ensure_shape(embeddings, (*token_ids.shape, self.embedding_dim))

    def load_word_vectors(self, matrix: np.ndarray) -> None:
        """Sets the word vectors, for example to word2vec's.

        Args:
          matrix: float [V, word_dim], a row per token id.

        Raises:
          ValueError: if `matrix` has another shape.
        """
        expected = (self.vocabulary_size, self.word_dim)
        if np.shape(matrix) != expected:
            raise ValueError(f"matrix must have shape {expected}, not {np.shape(matrix)}")
        if not self.built:
            self.build()
        self.word_vectors.set_weights([matrix])

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The shape of the embeddings."""
        return (*input_shape, self.embedding_dim)

    def get_config(self) -> dict[str, Any]:
        """The arguments, for `from_config`."""
        return {
            **super().get_config(),
            "vocabulary_size": self.vocabulary_size,
            "embedding_dim": self.embedding_dim,
            "hidden_dim": self.hidden_dim,
            "word_dim": self.word_dim,
            "dropout": self.dropout,
            "dropout_hidden": self.dropout_hidden,
            "train_words": self.train_words,
        }
