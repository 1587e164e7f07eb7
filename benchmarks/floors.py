"""Bare products with the shapes of a task: the time that it takes at least.

Every part needs operands of its own, because TensorFlow computes identical products only once, and
reduces each product to one number, so that none is optimised away.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from benchmarks.measuring import Work

Part = Callable[[], list[tf.Tensor]]


def layers(*shapes: tuple[int, int, int], backward: bool = True) -> Part:
    """Returns the products of affine maps.

    Args:
        shapes: Rows, inputs and outputs of every map.
        backward: Whether to add the products of the gradients of weights and inputs.
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


def trained_on(rows: int, inputs: int, outputs: int) -> Sequence[Part]:
    """Returns the products of a map whose inputs are data, which need no gradient."""
    return [
        layers((rows, inputs, outputs), backward=False),
        layers((inputs, rows, outputs), backward=False),
    ]


def recurrence(rows: Sequence[int], hidden: int, outputs: int, *, backward: bool = True) -> Part:
    """Returns the products of a recurrence, each of which waits for the previous one.

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

        def add(left: tf.Tensor, right: tf.Tensor, **transposed: bool) -> None:
            with tf.control_dependencies([made[-1]]):
                made.append(tf.matmul(left, right, **transposed)[0, 0])

        for state in states:
            add(state, kernel)
        if backward:
            for gradient in reversed(upstream):
                add(gradient, kernel, transpose_b=True)
            add(all_states, all_upstream, transpose_a=True)
        return made[1:]

    return run


def convolutions(cnn: keras.Model, count: int, side: int, after: str = "") -> Part:
    """Returns the convolutions of a CNN (by oneDNN), each on random maps of its own shape.

    Args:
        cnn: Network that reads squares.
        count: Number of squares in the batch.
        side: Height and width of a square, in pixels.
        after: Name of a layer, after which the convolutions are counted; "" counts all.
    """
    first = 1 + [layer.name for layer in cnn.layers].index(after) if after else 0
    kinds = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)
    found = [layer for layer in cnn.layers[first:] if isinstance(layer, kinds)]
    inputs = keras.Model(cnn.inputs, [layer.input for layer in found])
    shapes = inputs.compute_output_shape((count, side, side, 3))
    maps = [tf.random.normal(shape) for shape in shapes]
    return lambda: [layer(x)[0, 0, 0, 0] for layer, x in zip(found, maps, strict=True)]


def together(*parts: Part) -> Work:
    """Returns one compiled function that runs all parts and returns when they are finished."""

    @tf.function(autograph=False)
    def run() -> tf.Tensor:
        return tf.add_n([number for part in parts for number in part()])

    return lambda: run().numpy()
