"""Sentence encoders: words in the context of their sentence (paper, section 3.1.2)."""

import abc
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from visem_tf.models.recurrence import bidirectional_gru, bidirectional_rnn
from visem_tf.text import PAD_ID


class BaseSentenceEncoder(keras.layers.Layer, abc.ABC):
    """Base class of the sentence encoders.

    Only real words are computed, so padding costs nothing and changes nothing. A subclass creates
    its layers, `word_vectors` and `word_dropout` among them (`make_layers`), and computes
    embeddings from word vectors (`in_context`).

    Args:
        vocabulary_size: Number of words V. Token ids are smaller; `visem_tf.text.PAD_ID` (0) is
            padding.
        embedding_dim: Length D of the embeddings s_t.
        hidden_dim: Number of hidden units H of each direction.
        word_dim: Length of the word vectors x_t.
        dropout: Share of the entries of word vectors that are dropped in training.
        dropout_hidden: Share of the outputs of the recurrences that are dropped in training.
        train_words: Whether the word vectors are trained. The paper keeps those of word2vec fixed.
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
        self.vocabulary_size = vocabulary_size
        self.embedding_dim = embedding_dim
        self.hidden_dim = hidden_dim
        self.word_dim = word_dim
        self.dropout = dropout
        self.dropout_hidden = dropout_hidden
        self.train_words = train_words
        for name in ("vocabulary_size", "embedding_dim", "hidden_dim", "word_dim"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)!r}")
        for name in ("dropout", "dropout_hidden"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be in [0, 1), not {getattr(self, name)!r}")
        self.make_layers()

    @abc.abstractmethod
    def make_layers(self) -> None:
        """Creates the layers; called once, after the arguments are set."""

    @abc.abstractmethod
    def in_context(self, words: tf.Tensor, lengths: tf.Tensor, training: bool) -> tf.Tensor:
        """Computes embeddings s_t from word vectors x_t.

        Args:
            words: Float tensor [M, word_dim], the words of all sentences one after the other.
            lengths: Number of words of every sentence, int32 tensor [N].
            training: Whether dropout is applied.

        Returns:
            Float tensor [M, D], in the order of `words`.
        """

    def call(self, token_ids: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Embeds the words of sentences.

        Args:
            token_ids: Int tensor [N, T] without START and END, `PAD_ID` in the padding.
            training: Whether dropout is applied.

        Returns:
            Word embeddings, float tensor [N, T, D], zeros in the padding.
        """
        mask = tf.not_equal(token_ids, PAD_ID)
        positions = tf.where(mask)  # [M, 2]
        lengths = tf.reduce_sum(tf.cast(mask, tf.int32), axis=1)

        words = self.word_vectors(tf.gather_nd(token_ids, positions))  # x_t [M, word_dim]
        words = self.word_dropout(words, training=training)
        words = self.in_context(words, lengths, training)  # s_t [M, D]

        shape = tf.concat([tf.shape(token_ids), [self.embedding_dim]], axis=0)
        embeddings = tf.scatter_nd(tf.cast(positions, tf.int32), words, shape)
        return tf.ensure_shape(embeddings, (*token_ids.shape, self.embedding_dim))

    def load_word_vectors(self, matrix: np.ndarray) -> None:
        """Sets the word vectors, for example to those of word2vec.

        Args:
            matrix: Float array [V, word_dim], a row per token id.

        Raises:
            ValueError: If `matrix` has another shape.
        """
        expected = (self.vocabulary_size, self.word_dim)
        if np.shape(matrix) != expected:
            raise ValueError(f"matrix must have shape {expected}, not {np.shape(matrix)}")
        if not self.built:
            self.build()
        self.word_vectors.set_weights([matrix])

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns the shape of the embeddings."""
        return (*input_shape, self.embedding_dim)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
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

    def _make_word_vectors(self) -> keras.layers.Embedding:
        return keras.layers.Embedding(
            self.vocabulary_size,
            self.word_dim,
            embeddings_initializer=keras.initializers.RandomNormal(stddev=self.word_dim**-0.5),
            trainable=self.train_words,
            dtype=self.dtype_policy,
            name="word_vectors",
        )

    def _add_recurrent_weights(self, width: int, gain: float) -> None:
        for direction in ("forward", "backward"):
            kernel = self.add_weight(
                shape=(self.hidden_dim, width),
                initializer=keras.initializers.Orthogonal(gain),
                name=f"{direction}_kernel",
            )
            bias = self.add_weight(shape=(width,), initializer="zeros", name=f"{direction}_bias")
            setattr(self, f"{direction}_kernel", kernel)
            setattr(self, f"{direction}_bias", bias)

    def _recurrent_weights(self, dtype: tf.DType) -> tuple[tf.Tensor, ...]:
        """Kernels and biases of both directions, in the order of `bidirectional_rnn`."""
        return tuple(
            tf.cast(weight, dtype)
            for weight in (
                self.forward_kernel,
                self.forward_bias,
                self.backward_kernel,
                self.backward_bias,
            )
        )


@keras.saving.register_keras_serializable(package="visem_tf")
class SentenceEncoder(BaseSentenceEncoder):
    """The paper's bidirectional recurrent network, BRNN (section 3.1.2).

    With f the ReLU:

        x_t  = W_w onehot(t)
        e_t  = f(W_e x_t + b_e)
        hf_t = f(e_t + W_f hf_{t-1} + b_f)      left to right
        hb_t = f(e_t + W_b hb_{t+1} + b_b)      right to left, from the last word of the sentence
        s_t  = f(W_d (hf_t + hb_t) + b_d)

    Dropout is applied to x_t and e_t (`dropout`) and to hf_t + hb_t (`dropout_hidden`), never
    inside the recurrences.

    The initial weights preserve the lengths of vectors: word vectors have a length of about 1, the
    kernels W_e and W_d a variance of 2 over the number of outputs, and W_f and W_b are orthogonal
    matrices times one half, so that the effect of a word on later ones fades within a few steps.

    The arguments are those of `BaseSentenceEncoder`.

    Example:
        >>> import tensorflow as tf
        >>> encoder = SentenceEncoder(vocabulary_size=10, embedding_dim=8, hidden_dim=6, word_dim=4)
        >>> encoder(tf.constant([[5, 6, 7], [8, 0, 0]])).shape
        TensorShape([2, 3, 8])
    """

    def make_layers(self) -> None:
        """Creates the layers, in the order of their random initial values."""
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
        """Creates the weights."""
        self._add_recurrent_weights(self.hidden_dim, gain=0.5)
        self.word_vectors.build((None,))
        self.word_projection.build((None, self.word_dim))
        self.output_projection.build((None, self.hidden_dim))
        self.built = True

    def in_context(self, words: tf.Tensor, lengths: tf.Tensor, training: bool) -> tf.Tensor:
        """Computes the equations above from x_t on."""
        words = self.word_projection(words)  # e_t [M, H]
        words = self.projection_dropout(words, training=training)
        words = bidirectional_rnn(words, lengths, *self._recurrent_weights(words.dtype))
        words = self.context_dropout(words, training=training)  # hf_t + hb_t
        return self.output_projection(words)  # s_t [M, D]


@keras.saving.register_keras_serializable(package="visem_tf")
class GruSentenceEncoder(BaseSentenceEncoder):
    """Gated recurrent units in both directions, as in SCAN (Lee et al., ECCV 2018).

        hf_t = GRU(x_t, hf_{t-1})      left to right
        hb_t = GRU(x_t, hb_{t+1})      right to left, from the last word of the sentence
        s_t  = W_d (hf_t + hb_t) / 2 + b_d

    Dropout is applied to x_t (`dropout`) and to the mean of both directions (`dropout_hidden`).
    Unlike the embeddings of the paper, s_t may be negative.

    The arguments are those of `BaseSentenceEncoder`.

    Example:
        >>> import tensorflow as tf
        >>> encoder = GruSentenceEncoder(10, embedding_dim=8, hidden_dim=6, word_dim=4)
        >>> encoder(tf.constant([[5, 6, 7], [8, 0, 0]])).shape
        TensorShape([2, 3, 8])
    """

    def make_layers(self) -> None:
        """Creates the layers, in the order of their random initial values."""
        layers, common = keras.layers, {"dtype": self.dtype_policy}
        self.word_vectors = self._make_word_vectors()
        self.forward_projection = layers.Dense(3 * self.hidden_dim, use_bias=False, **common)
        self.backward_projection = layers.Dense(3 * self.hidden_dim, use_bias=False, **common)
        self.output_projection = layers.Dense(self.embedding_dim, **common)
        self.word_dropout = layers.Dropout(self.dropout, **common)
        self.context_dropout = layers.Dropout(self.dropout_hidden, **common)

    def build(self, input_shape: tuple[int | None, ...] | None = None) -> None:
        """Creates the weights."""
        self._add_recurrent_weights(3 * self.hidden_dim, gain=1.0)
        self.word_vectors.build((None,))
        self.forward_projection.build((None, self.word_dim))
        self.backward_projection.build((None, self.word_dim))
        self.output_projection.build((None, self.hidden_dim))
        self.built = True

    def in_context(self, words: tf.Tensor, lengths: tf.Tensor, training: bool) -> tf.Tensor:
        """Computes the equations above from x_t on."""
        forward, backward = self.forward_projection(words), self.backward_projection(words)
        weights = self._recurrent_weights(forward.dtype)
        words = 0.5 * bidirectional_gru(forward, backward, lengths, *weights)
        return self.output_projection(self.context_dropout(words, training=training))
