"""The paper's cell: h_t = relu(inputs_t + h_{t-1} U + b) (section 3)."""

import numpy as np
import tensorflow as tf

from visem_tf.models.cells import Cell, Memory


def step(inputs: tf.Tensor, recurrent: tf.Tensor, memory: Memory) -> tuple[tf.Tensor, Memory]:
    """One step; see `Cell`.

    Example:
        >>> step(tf.constant([[1.0, -3.0]]), tf.constant([[0.5, 0.5]]), ())[0].numpy()
        array([[1.5, 0. ]], dtype=float32)
    """
    return tf.nn.relu(inputs + recurrent), memory


CELL = Cell(
    gates=1,
    memory="none",
    step=step,
    first_bias=lambda hidden_dim: np.zeros(hidden_dim, np.float32),
)
