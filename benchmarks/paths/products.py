"""Bare matrix products, as the floor of a computation: nothing but them, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf

Layer = tuple[int, int, int]
"""Rows, inputs and outputs of an affine map."""


def layers(shapes: Sequence[Layer], *, backward: bool) -> Callable[[], list[tf.Tensor]]:
    """The products of affine maps.

    Args:
        shapes: of every map.
        backward: with the two products of the gradients, of weights and of inputs.

    Returns:
        Makes one number of each product, so that none is left out.
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
    """The products of a recurrence, which wait for each other.

    Args:
        rows: of every step.
        hidden: H.
        outputs: of the recurrent matrix.
        backward: with the gradients: of the states step by step, of the weights all at once.
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
    """One compiled function that does all parts, and returns when they are done.

    Every part needs operands of its own: TensorFlow does the same product once.
    """

    @tf.function(autograph=False)
    def run() -> tf.Tensor:
        return tf.add_n([number for part in parts for number in part()])

    return lambda: run().numpy()
