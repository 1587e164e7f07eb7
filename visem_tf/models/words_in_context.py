"""What sentence encoders share: word vectors, padding that costs nothing, and how to load them."""

import abc
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from visem_tf.text import PAD_ID


class WordsInContext(keras.layers.Layer, abc.ABC):
    """Embeds every word of a sentence in the light of the others.

    Only real words are computed, so padding costs nothing and changes nothing. A subclass makes its
    layers, `word_vectors` and `word_dropout` among them (`make_layers`), and says what becomes of
    the words (`in_context`).

    Args:
      vocabulary_size: V; token ids are below it, `visem_tf.text.PAD_ID` (0) is padding.
      embedding_dim: D, the length of s_t.
      hidden_dim: H, hidden units of each direction.
      word_dim: length of the word vectors x_t.
      dropout: share of the values of word vectors that are dropped in training.
      dropout_hidden: share of the values of what comes out of the recurrences that are dropped.
      train_words: False keeps the word vectors as they are (the paper's choice with word2vec).
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
        self.make_layers()

    @abc.abstractmethod
    def make_layers(self) -> None:
        """Makes the layers; called once, when the arguments are known."""

    @abc.abstractmethod
    def in_context(self, words: tf.Tensor, lengths: tf.Tensor, training: bool) -> tf.Tensor:
        """Word vectors x_t to embeddings s_t.

        Args:
          words: float [words, word_dim], the words of all sentences one after the other.
          lengths: int32 [N], the number of words of every sentence.
          training: whether dropout is on.

        Returns:
          float [words, D], in the same order.
        """

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
        words = self.in_context(words, lengths, training)  # s_t [words, D]

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

    def _make_word_vectors(self) -> keras.layers.Embedding:
        return keras.layers.Embedding(
            self.vocabulary_size,
            self.word_dim,
            embeddings_initializer=keras.initializers.RandomNormal(stddev=self.word_dim**-0.5),
            trainable=self.train_words,
            dtype=self.dtype_policy,
            name="word_vectors",
        )
