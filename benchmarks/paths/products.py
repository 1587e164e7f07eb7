"""Bare matrix products as the lower bound of a computation."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf

Layer = tuple[int, int, int]
"""Rows, inputs and outputs of an affine map."""


def layers(shapes: Sequence[Layer], *, backward: bool) -> Callable[[], list[tf.Tensor]]:
    """Returns the products of affine maps.

    Args:
        shapes: Shape (rows, inputs, outputs) of every map.
        backward: Whether to add the two products of the gradients with respect to weights and
            inputs.

    Returns:
        Function that reduces each product to one number, so that none is optimised away.
    """
    operands = [
        (tf.random.normal([rows, inputs]), tf.random.normal([inputs, outputs]))
        for rows, inputs, outputs in shapes
    ]

    def run() -> list[tf.Tensor]:
        made = []
        for inputs, weights in operands:
            outputs = inputs @ weights
            made.append(outputs)
            if backward:
                made.append(tf.matmul(inputs, outputs, transpose_a=True))
                made.append(tf.matmul(outputs, weights, transpose_b=True))
        return [product[0, 0] for product in made]

    return run


def recurrence(
    rows: Sequence[int], hidden: int, outputs: int, *, backward: bool
) -> Callable[[], list[tf.Tensor]]:
    """Returns the products of a recurrence, each of which depends on the previous one.

    Args:
        rows: Number of rows of every step.
        hidden: Number of hidden units H.
        outputs: Number of columns of the recurrent matrix.
        backward: Whether to add the gradients: of the states step by step, of the weights at once.
    """
    kernel = tf.random.normal([hidden, outputs], stddev=hidden**-0.5)
    states = [tf.random.normal([count, hidden]) for count in rows]
    upstream = [tf.random.normal([count, outputs]) for count in rows]
    all_states, all_upstream = tf.concat(states, 0), tf.concat(upstream, 0)

    def run() -> list[tf.Tensor]:
        made = [tf.constant(0.0)]
        for state in states:
            with tf.control_dependencies([made[-1]]):
                made.append(tf.matmul(state, kernel)[0, 0])
        if backward:
            for gradient in reversed(upstream):
                with tf.control_dependencies([made[-1]]):
                    made.append(tf.matmul(gradient, kernel, transpose_b=True)[0, 0])
            made.append(tf.matmul(all_states, all_upstream, transpose_a=True)[0, 0])
        return made[1:]

    return run


def together(*parts: Callable[[], list[tf.Tensor]]) -> Callable[[], object]:
    """Returns one compiled function that runs all parts and returns when they are finished.

    Every part needs operands of its own, because TensorFlow computes identical products only once.
    """

    @tf.function(autograph=False)
    def run() -> tf.Tensor:
        return tf.add_n([number for part in parts for number in part()])

    return lambda: run().numpy()
