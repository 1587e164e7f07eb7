"""What decoding asks of a model, and what both searches do to its state and its scores."""

from collections.abc import Callable
from typing import Any, Protocol

import tensorflow as tf

from visem_tf.models.picture_state import PictureState
from visem_tf.text import PAD_ID, START_ID, UNK_ID

State = Any  # a nest of tensors whose first axis is the batch, or a `PictureState`


class StepwiseModel(Protocol):
    """A model that gives the next word, one step at a time."""

    def initial_state(self, image_features: Any) -> State:
        """The state before START: a nest of tensors [B, ...] for features [B, F].

        The shape and type of every tensor stay the same from step to step. Features may be a nest
        of tensors [B, ...] too, and the state a `PictureState`, whose `pictures` no search touches.
        """

    def step(self, token_ids: tf.Tensor, state: State) -> tuple[tf.Tensor, State]:
        """Log-probabilities [B, V] of the words after `token_ids` int32 [B], and the next state."""


class PictureModel(StepwiseModel, Protocol):
    """A stepwise model that knows what it reads of a picture, as the generators do."""

    reads_regions: bool
    """Whether it takes the regions of pictures, or one vector each."""

    def inputs_of_pictures(self, region_features: Any, region_mask: Any) -> Any:
        """What `initial_state` takes, of regions [B, R, F] and their mask [B, R]."""

    def input_specs(self) -> Any:
        """The types of that."""


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


def batch_size(image_features: Any) -> tf.Tensor:
    """B of features [B, ...], or of a nest of them."""
    return tf.shape(tf.nest.flatten(image_features)[0])[0]


def split_state(state: State) -> tuple[State, Callable[[State], State]]:
    """What a search carries from step to step of a state, and how to get a whole state of it."""
    if isinstance(state, PictureState):
        return state.rows, lambda rows: PictureState(rows, state.pictures)
    return state, lambda rows: rows


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
