"""Gated recurrent unit (Cho and others, 2014), the reset gate after the product.

    z, r = sigmoid(inputs_t + h_{t-1} U + b)         the first two thirds
    n = tanh(inputs_t + r (h_{t-1} U + b))           the last third
    h_t = z h_{t-1} + (1 - z) n

The reset gate acts on the product, as in cuDNN and Keras, so that one product is enough; Cho's acts
on h_{t-1} before it.
"""

import numpy as np
import tensorflow as tf

from visem_tf.models.cells import Cell, Memory


def step(inputs: tf.Tensor, recurrent: tf.Tensor, memory: Memory) -> tuple[tf.Tensor, Memory]:
    """One step; see `Cell`.

    Example:
        >>> step(tf.zeros([1, 3]), tf.zeros([1, 3]), (tf.ones([1, 1]),))[0].numpy()
        array([[0.5]], dtype=float32)
    """
    (before,) = memory
    size = before.shape[-1]
    gates = tf.sigmoid(inputs[..., : 2 * size] + recurrent[..., : 2 * size])
    keep, reset = tf.split(gates, 2, axis=-1)
    new = tf.tanh(inputs[..., 2 * size :] + reset * recurrent[..., 2 * size :])
    hidden = keep * before + (1 - keep) * new
    return hidden, (hidden,)


CELL = Cell(
    gates=3,
    memory="hidden",
    step=step,
    first_bias=lambda hidden_dim: np.zeros(3 * hidden_dim, np.float32),
)
