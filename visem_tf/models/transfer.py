"""Starts a model from the weights of another, whose vocabulary may be smaller."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from visem_tf.models.alignment_model import AlignmentModel


class KeepFirstRows(keras.constraints.Constraint):
    """Keeps the first rows of a variable as they are while the others are trained.

    Args:
        rows: The rows, float array [N, D].
    """

    def __init__(self, rows: np.ndarray) -> None:
        self.rows = rows

    def __call__(self, w: Any) -> tf.Tensor:
        """Returns [V, D] with the first N rows replaced."""
        rows = tf.constant(self.rows, w.dtype)
        return tf.concat([rows, tf.convert_to_tensor(w)[len(self.rows) :]], axis=0)


def copy_weights(source: keras.Model, target: keras.Model, words: tuple[int, int]) -> None:
    """Copies all weights of a model into another of the same kind.

    Where a weight has an entry for every word, the first words of `target` are those of `source`,
    and the others keep their initial values.

    Args:
        source: Trained model.
        target: Built model of the same class.
        words: Sizes of the vocabularies of both.

    Raises:
        ValueError: The weights have other shapes for another reason; the message names one.
    """
    if type(source) is not type(target) or len(source.weights) != len(target.weights):
        raise ValueError(f"a {type(target).__name__} with these options has other weights")
    copied = []
    for old, new in zip(source.weights, target.weights, strict=True):
        values, expected = np.asarray(old), tuple(new.shape)
        if expected == values.shape:
            copied.append(values)
        elif len(expected) == values.ndim and all(
            now == before or (before, now) == words
            for before, now in zip(values.shape, expected, strict=True)
        ):
            whole = np.asarray(new).copy()
            whole[tuple(map(slice, values.shape))] = values
            copied.append(whole)
        else:
            raise ValueError(
                f"the weight {new.path} has the shape {list(expected)} here and "
                f"{list(values.shape)} there"
            )
    for new, values in zip(target.weights, copied, strict=True):
        new.assign(values)


def freeze_alignment(model: AlignmentModel, parts: tuple[str, ...], num_words: int) -> None:
    """Excludes parts of an alignment model from its training.

    Args:
        model: Built model, before it is compiled.
        parts: Names out of `visem_tf.config.run_config.FREEZABLE`.
        num_words: Number of words, from the first on, whose vectors "word_vectors" names.
    """
    encoder = model.sentence_encoder
    trains_words = encoder.word_vectors.trainable
    if "region_encoder" in parts:
        model.region_encoder.trainable = False
    if "sentence_encoder" in parts:
        encoder.trainable = False
        encoder.word_vectors.trainable = trains_words
    if "word_vectors" in parts:
        freeze_words(encoder.word_vectors, num_words)


def freeze_words(word_vectors: keras.layers.Embedding, num_words: int) -> None:
    """Keeps the vectors of the first words as they are; those of the others are trained."""
    if num_words == word_vectors.input_dim:
        word_vectors.trainable = False
        return
    embeddings = word_vectors.embeddings
    embeddings.constraint = KeepFirstRows(np.asarray(embeddings)[:num_words])
