"""Place and size of a box as a part of its feature vector.

A word may name a place ("in the background"), and things have usual places and sizes: hats are at
the top of people, and small.
"""

import math

import tensorflow as tf

_WAVES = 3
POSITION_DIM = 6 * 2 * _WAVES
"""Numbers that `with_positions` appends."""


def with_positions(features: tf.Tensor, boxes: tf.Tensor) -> tf.Tensor:
    """Appends sines and cosines of the centre, the sides, the area and the aspect of every box.

    They are scaled to half the length of the feature vector, so that they count as much in every
    region.

    Args:
        features: float tensor [B, R, F].
        boxes: float tensor [B, R, 4], `rel_yxyx`.

    Returns:
        float tensor [B, R, F + POSITION_DIM].
    """
    ymin, xmin, ymax, xmax = tf.unstack(boxes, axis=2)
    height, width = tf.maximum(ymax - ymin, 1e-3), tf.maximum(xmax - xmin, 1e-3)
    aspect = 0.5 + tf.atan2(height - width, height + width) * (2.0 / math.pi)
    values = tf.stack(
        [(ymin + ymax) / 2, (xmin + xmax) / 2, height, width, tf.sqrt(height * width), aspect],
        axis=2,
    )  # all between 0 and 1
    angles = values[..., tf.newaxis] * (math.pi * tf.pow(2.0, tf.range(_WAVES, dtype=tf.float32)))
    waves = tf.concat([tf.sin(angles), tf.cos(angles)], axis=3)
    waves = tf.reshape(waves, [tf.shape(boxes)[0], tf.shape(boxes)[1], POSITION_DIM])
    # Each sine and its cosine have length 1 together.
    length = tf.norm(features, axis=2, keepdims=True)
    return tf.concat([features, waves * (0.5 * length / math.sqrt(POSITION_DIM / 2))], axis=2)
