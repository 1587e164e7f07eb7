"""What decoding asks of a model, and what both searches do to its state and its scores."""

from collections.abc import Callable
from typing import Any, Protocol

import tensorflow as tf

from visem_tf.text import PAD_ID, START_ID, UNK_ID

State = Any  # a nest of tensors whose first axis is the batch


class StepwiseModel(Protocol):
    """A model that gives the next word, one step at a time."""

    def initial_state(self, image_features: tf.Tensor) -> State:
        """The state before START: a nest of tensors [B, ...] for features [B, F].

        The shape and type of every tensor stay the same from step to step.
        """

    def step(self, token_ids: tf.Tensor, state: State) -> tuple[tf.Tensor, State]:
        """Log-probabilities [B, V] of the words after `token_ids` int32 [B], and the next state."""


def forbid(log_probs: tf.Tensor, allow_unknown: bool) -> tf.Tensor:
    """Sets words that a sentence never contains to minus infinity: PAD, START, and UNK.

    The other words keep their log-probabilities; nothing is normalised anew.

    Args:
      log_probs: float [..., V].
      allow_unknown: whether UNK may be said.
    """
    log_probs = tf.cast(log_probs, tf.float32)
    word = tf.range(tf.shape(log_probs)[-1])
    forbidden = tf.logical_or(tf.equal(word, PAD_ID), tf.equal(word, START_ID))
    if not allow_unknown:
        forbidden = tf.logical_or(forbidden, tf.equal(word, UNK_ID))
    return log_probs + tf.where(forbidden, -float("inf"), 0.0)


def map_rows(function: Callable[[tf.Tensor], tf.Tensor], state: State) -> State:
    """Applies a function that changes only the first axis to every tensor of a state."""

    def apply(tensor: tf.Tensor) -> tf.Tensor:
        result = function(tensor)
        result.set_shape([None, *tensor.shape[1:]])
        return result

    return tf.nest.map_structure(apply, state)


def row_invariants(state: State) -> State:
    """Shapes of a state in a loop: the batch is free, the rest is fixed."""
    return tf.nest.map_structure(lambda tensor: tf.TensorShape([None, *tensor.shape[1:]]), state)
