"""Gradients against central differences along random directions, which take few evaluations."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf


def assert_gradients_are_slopes(
    function: Callable[..., Any],
    points: Sequence[Any],
    *,
    directions: int = 2,
    delta: float = 1e-6,
    atol: float = 1e-5,
) -> list[np.ndarray]:
    """Compares the gradient of a function with its slope along random directions.

    Args:
        function: Function of float64 tensors whose value is a scalar.
        points: Arguments of the function. Each is moved alone.
        directions: Number of directions for each argument.
        delta: Length of a step, as a factor of directions of standard normal numbers.
        atol: Largest difference of a slope.

    Returns:
        The slopes along the directions, an array for each argument.
    """
    points = [tf.constant(point, tf.float64) for point in points]
    with tf.GradientTape() as tape:
        tape.watch(points)
        value = function(*points)
    random = np.random.default_rng(0)
    slopes = []
    for position, gradient in enumerate(tape.gradient(value, points)):
        expected = []
        for direction in random.normal(size=[directions, *points[position].shape]):
            ends = [list(points), list(points)]
            for end, sign in zip(ends, (1, -1), strict=True):
                end[position] = points[position] + sign * delta * direction
            expected.append((function(*ends[0]) - function(*ends[1])) / (2 * delta))
            found = np.sum(gradient.numpy() * direction)
            np.testing.assert_allclose(found, expected[-1], atol=atol)
        slopes.append(np.array(expected))
    return slopes
