"""Recurrent cells of the generators, as functions without weights.

A cell combines two products into one step,

    inputs     from the word and whatever else enters the step,           [B, G H]
    recurrent  h_{t-1} U + b, from the hidden state of the step before,   [B, G H]

where G is the number of gates of the cell. To add a cell, write its step, add an entry to `CELLS`,
and add its name to `visem_tf.config.registry`.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
import tensorflow as tf

Memory = tuple[tf.Tensor, ...]
Step = Callable[[tf.Tensor, tf.Tensor, Memory], tuple[tf.Tensor, Memory]]


class Cell(NamedTuple):
    """A recurrent cell.

    Attributes:
        step: Function from inputs [B, G H], recurrent [B, G H] and memory to the hidden state
            [B, H] and the next memory. A memory is a tuple of one tensor [B, H], or empty.
        gate_biases: Initial value of the bias b for each of the G gates.
        memory: What a step reads of the step before, in addition to `recurrent`: nothing ("none"),
            the hidden state ("hidden"), or a second vector ("own").
    """

    step: Step
    gate_biases: tuple[float, ...]
    memory: Literal["none", "hidden", "own"]

    @property
    def gates(self) -> int:
        """The number of gates G."""
        return len(self.gate_biases)

    def first_bias(self, hidden_dim: int) -> np.ndarray:
        """Returns the initial bias b, float32 array [G H]."""
        return np.repeat(np.array(self.gate_biases, np.float32), hidden_dim)

    def first_memory(self, hidden: tf.Tensor, own: tf.Tensor | None = None) -> Memory:
        """Returns the memory before the first step.

        Args:
            hidden: Hidden state h_0, [B, H].
            own: Initial value of a second vector, [B, H]. None means zeros.
        """
        if self.memory == "none":
            return ()
        if self.memory == "hidden":
            return (hidden,)
        return (tf.zeros_like(hidden) if own is None else own,)


def rnn_step(inputs: tf.Tensor, recurrent: tf.Tensor, memory: Memory) -> tuple[tf.Tensor, Memory]:
    """Computes the step of the paper: h_t = relu(inputs_t + h_{t-1} U + b) (section 3.2).

    Example:
        >>> rnn_step(tf.constant([[1.0, -3.0]]), tf.constant([[0.5, 0.5]]), ())[0].numpy()
        array([[1.5, 0. ]], dtype=float32)
    """
    return tf.nn.relu(inputs + recurrent), memory


def gru_step(inputs: tf.Tensor, recurrent: tf.Tensor, memory: Memory) -> tuple[tf.Tensor, Memory]:
    """Computes the step of a gated recurrent unit (Cho et al., 2014).

        z, r = sigmoid(inputs_t + h_{t-1} U + b)         the first two thirds
        n = tanh(inputs_t + r (h_{t-1} U + b))           the last third
        h_t = z h_{t-1} + (1 - z) n

    The reset gate is applied after the product, as in cuDNN and Keras, so that one product is
    enough; Cho et al. apply it to h_{t-1} before the product.

    Example:
        >>> gru_step(tf.zeros([1, 3]), tf.zeros([1, 3]), (tf.ones([1, 1]),))[0].numpy()
        array([[0.5]], dtype=float32)
    """
    (before,) = memory
    size = before.shape[-1]
    # The gradient of a split is one concatenation, that of slices a padded tensor for each.
    of_inputs, new_inputs = tf.split(inputs, [2 * size, size], axis=-1)
    of_recurrent, new_recurrent = tf.split(recurrent, [2 * size, size], axis=-1)
    keep, reset = tf.split(tf.sigmoid(of_inputs + of_recurrent), 2, axis=-1)
    new = tf.tanh(new_inputs + reset * new_recurrent)
    hidden = keep * before + (1 - keep) * new
    return hidden, (hidden,)


def lstm_step(inputs: tf.Tensor, recurrent: tf.Tensor, memory: Memory) -> tuple[tf.Tensor, Memory]:
    """Computes the step of long short-term memory (Hochreiter and Schmidhuber, 1997; Gers, 2000).

        i, f, o = sigmoid(inputs_t + h_{t-1} U + b)      in this order, and g = tanh(the same) last
        c_t = f c_{t-1} + i g
        h_t = o tanh(c_t)

    The bias of the forget gate f starts at 1, so that gradients reach far back from the beginning
    of the training (Jozefowicz et al., 2015).

    Example:
        >>> hidden, (carry,) = lstm_step(tf.zeros([1, 4]), tf.zeros([1, 4]), (tf.ones([1, 1]),))
        >>> carry.numpy()
        array([[0.5]], dtype=float32)
    """
    (carry,) = memory
    size = carry.shape[-1]
    gates, new = tf.split(inputs + recurrent, [3 * size, size], axis=-1)
    admit, keep, show = tf.split(tf.sigmoid(gates), 3, axis=-1)
    carry = keep * carry + admit * tf.tanh(new)
    return show * tf.tanh(carry), (carry,)


CELLS = {
    "gru": Cell(gru_step, gate_biases=(0, 0, 0), memory="hidden"),
    "lstm": Cell(lstm_step, gate_biases=(0, 1, 0, 0), memory="own"),
    "rnn": Cell(rnn_step, gate_biases=(0,), memory="none"),
}
"""Cells by their names in the configuration."""


def get_cell(name: str) -> Cell:
    """Returns the cell with a name.

    Raises:
        ValueError: If there is no such cell.

    Example:
        >>> get_cell("lstm").gates
        4
    """
    if name not in CELLS:
        raise ValueError(f"cell must be one of {', '.join(CELLS)}, not {name!r}")
    return CELLS[name]
