"""A recurrence over sentences of unlike length, which spends no step on padding.

Sentences are sorted by length, the longest first, so that step t works on the first rows.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

Rows = tuple[tf.Tensor, ...]


class SortedSentences(NamedTuple):
    """Sentences by length, and their words step by step: M of them in all.

    Attributes:
      order: int32 [B], the sentences, the longest first.
      count: int32 [T], the sentences that step t works on, never growing.
      position: int32 [M], the row of every word.
    """

    order: tf.Tensor
    count: tf.Tensor
    position: tf.Tensor

    def in_steps(self, values: tf.Tensor) -> tf.Tensor:
        """Values of words [M, ...] in the order of the steps."""
        return tf.gather(values, tf.math.invert_permutation(self.position))

    def sorted(self, values: Any) -> Any:
        """A nest of values of sentences [B, ...], the longest first."""
        return tf.nest.map_structure(lambda tensor: tf.gather(tensor, self.order), values)


def sort_sentences(places: tf.Tensor, shape: tf.Tensor) -> SortedSentences:
    """Sorts sentences by length.

    Args:
      places: int [M, 2], step and sentence of every word; sentences begin at step 0 and have no
        gaps.
      shape: int32 [2], T and B.

    Example:
      >>> found = sort_sentences(tf.constant([[0, 0], [0, 1], [1, 1]]), tf.constant([2, 2]))
      >>> found.order.numpy(), found.count.numpy(), found.position.numpy()
      (array([1, 0], dtype=int32), array([2, 1], dtype=int32), array([1, 0, 2], dtype=int32))
    """
    steps, batch = tf.unstack(shape)
    step, sentence = tf.unstack(tf.cast(places, tf.int32), axis=1)
    ones = tf.ones_like(sentence)
    lengths = tf.math.unsorted_segment_sum(ones, sentence, batch)
    order = tf.argsort(lengths, direction="DESCENDING", stable=True)
    count = tf.math.unsorted_segment_sum(ones, step, steps)
    start = tf.cumsum(count, exclusive=True)
    rank = tf.gather(tf.math.invert_permutation(order), sentence)
    return SortedSentences(order, count, tf.gather(start, step) + rank)


def unroll(
    advance: Callable[[tf.Tensor, Rows, Rows], tuple[Rows, Rows]],
    word_inputs: tf.Tensor,
    sentences: SortedSentences,
    rows: Rows,
    pictures: Rows,
    sizes: tuple[int, ...],
) -> Rows:
    """What a recurrence gives for every word, step by step.

    Args:
      advance: inputs [N, ...], rows [N, ...] and pictures [N, ...] of the sentences that go on, to
        the rows after the step and what it gives, [N, size] for each of `sizes`.
      word_inputs: float [M, ...], step by step.
      sentences: of `sort_sentences`.
      rows: before the first step, [B, ...], the longest sentence first.
      pictures: the same at every step, [B, ...], in that order too.
      sizes: of what `advance` gives.

    Returns:
      [M, size] for each of `sizes`, step by step.
    """
    count, batch = sentences.count, tf.shape(sentences.order)[0]
    steps = tf.shape(count)[0]
    # Slices of one tensor would each have a gradient of its whole size.
    inputs = tf.TensorArray(
        word_inputs.dtype, steps, infer_shape=False, element_shape=[None, word_inputs.shape[-1]]
    ).split(word_inputs, count)
    arrays = tuple(
        tf.TensorArray(rows[0].dtype, steps, infer_shape=False, element_shape=[None, size])
        for size in sizes
    )

    def body(t: tf.Tensor, rows: Rows, arrays: tuple) -> tuple:
        # As long as no sentence has ended, nothing is cut: a cut has a gradient of the whole size.
        current = tf.cond(
            tf.equal(count[t], batch),
            lambda: (rows, pictures),
            lambda: tf.nest.map_structure(lambda tensor: tensor[: count[t]], (rows, pictures)),
        )
        rows, found = advance(inputs.read(t), *current)
        return t + 1, rows, tuple(a.write(t, value) for a, value in zip(arrays, found, strict=True))

    invariants = (
        tf.TensorShape([]),
        tuple(tf.TensorShape([None, *row.shape[1:]]) for row in rows),
        tuple(tf.TensorShape(None) for _ in arrays),
    )
    _, _, arrays = tf.while_loop(
        lambda t, *_: t < steps,
        body,
        (tf.constant(0), rows, arrays),
        shape_invariants=None if tf.executing_eagerly() else invariants,
        maximum_iterations=steps,
    )
    return tuple(array.concat() for array in arrays)
