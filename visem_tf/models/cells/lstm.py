"""Long short-term memory (Hochreiter and Schmidhuber, 1997; with the forget gate of Gers, 2000).

    i, f, o = sigmoid(inputs_t + h_{t-1} U + b)      in this order, and g = tanh(the same) last
    c_t = f c_{t-1} + i g
    h_t = o tanh(c_t)

The forget gate starts with a bias of 1, so that gradients reach far back from the beginning
(Jozefowicz and others, 2015).
"""

import numpy as np
import tensorflow as tf

from visem_tf.models.cells import Cell, Memory


def step(inputs: tf.Tensor, recurrent: tf.Tensor, memory: Memory) -> tuple[tf.Tensor, Memory]:
    """One step; see `Cell`.

    Example:
        >>> hidden, (carry,) = step(tf.zeros([1, 4]), tf.zeros([1, 4]), (tf.ones([1, 1]),))
        >>> carry.numpy()
        array([[0.5]], dtype=float32)
    """
    (carry,) = memory
    size = carry.shape[-1]
    total = inputs + recurrent
    gates = tf.sigmoid(total[..., : 3 * size])
    admit, keep, show = tf.split(gates, 3, axis=-1)
    carry = keep * carry + admit * tf.tanh(total[..., 3 * size :])
    return show * tf.tanh(carry), (carry,)


def first_bias(hidden_dim: int) -> np.ndarray:
    """Zeros, but ones for the forget gate, float32 [4 H]."""
    zeros, ones = np.zeros(hidden_dim, np.float32), np.ones(hidden_dim, np.float32)
    return np.concatenate([zeros, ones, zeros, zeros])


CELL = Cell(gates=4, memory="own", step=step, first_bias=first_bias)
