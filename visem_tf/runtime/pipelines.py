"""Options of the pipelines of tf.data that read images, features and sentences."""

import os

import tensorflow as tf

PARALLEL_READS = os.cpu_count() or 1
"""Number of elements that a pipeline decodes at the same time."""


def prefetched(elements: tf.data.Dataset, count: int = 2) -> tf.data.Dataset:
    """Prepares elements ahead, in their order, without autotuning.

    The autotuning of tf.data wakes up at intervals that grow to a minute, and an iterator that is
    deleted waits for it (TensorFlow 2.21): a training would end up to a minute after its last step.
    All pipelines of this package have fixed sizes, so there is nothing to tune.

    Args:
        elements: Dataset.
        count: Number of elements that are prepared ahead.

    Returns:
        Dataset with the same elements. What reads it further inherits the options.

    Example:
        >>> list(prefetched(tf.data.Dataset.range(3)).as_numpy_iterator())
        [np.int64(0), np.int64(1), np.int64(2)]
    """
    options = tf.data.Options()
    options.deterministic = True
    options.autotune.enabled = False
    return elements.with_options(options).prefetch(count)
