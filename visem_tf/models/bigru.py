"""Gated recurrent units over sentences of unequal length, in both directions.

No step is spent on padding, as in `visem_tf.models.brnn`, whose order of rows this shares.
"""

import tensorflow as tf

from visem_tf.models.brnn import PackedRows
from visem_tf.models.cells.gru import step as gru_step


def bidirectional_gru(
    forward_inputs: tf.Tensor,
    backward_inputs: tf.Tensor,
    lengths: tf.Tensor,
    forward_kernel: tf.Tensor,
    forward_bias: tf.Tensor,
    backward_kernel: tf.Tensor,
    backward_bias: tf.Tensor,
) -> tf.Tensor:
    """hf_t + hb_t for every word; the backward direction starts at a sentence's own last word.

    Args:
      forward_inputs: W x_t of the gates (`visem_tf.models.cells.gru`), float [words, 3 H], the
        words of all sentences one after the other.
      backward_inputs: the same of the other direction.
      lengths: int32 [N], the number of words of every sentence; their sum is `words`.
      forward_kernel: U, float [H, 3 H].
      forward_bias: b, float [3 H].
      backward_kernel: float [H, 3 H].
      backward_bias: float [3 H].

    Returns:
      float [words, H], in the order of the inputs.

    >>> import tensorflow as tf
    >>> inputs, kernel, bias = tf.zeros([3, 3]), tf.zeros([1, 3]), tf.constant([0.0, 0.0, 9.0])
    >>> lengths = tf.constant([2, 1])  # h = 1/2 after a word, 3/4 after two
    >>> bidirectional_gru(inputs, inputs, lengths, kernel, bias, kernel, bias).numpy().round(2)
    array([[1.25],
           [1.25],
           [1.  ]], dtype=float32)
    """
    rows = PackedRows(lengths)
    packed = (tf.gather(forward_inputs, rows.forward), tf.gather(backward_inputs, rows.backward))
    weights = ((forward_kernel, forward_bias), (backward_kernel, backward_bias))
    size = forward_kernel.shape[0]
    start = tf.zeros([rows.count[0], size], forward_inputs.dtype)
    steps = tf.maximum(rows.steps, 1)  # one, of no row, where there is no word
    arrays = tuple(
        tf.TensorArray(forward_inputs.dtype, steps, infer_shape=False, element_shape=[None, size])
        for _ in packed
    )

    def body(t: tf.Tensor, states: tuple, arrays: tuple) -> tuple:
        after, written = [], []
        for inputs, (kernel, bias), hidden, array in zip(
            packed, weights, states, arrays, strict=True
        ):
            hidden = hidden[: rows.count[t]]
            recurrent = tf.matmul(hidden, kernel) + bias
            hidden, _ = gru_step(rows.of(inputs, t), recurrent, (hidden,))
            after.append(hidden)
            written.append(array.write(t, hidden))
        return t + 1, tuple(after), tuple(written)

    shape = tf.TensorShape([None, size])
    invariants = (tf.TensorShape([]), (shape, shape), (tf.TensorShape(None), tf.TensorShape(None)))
    _, _, arrays = tf.while_loop(
        lambda t, *_: t < steps,
        body,
        (tf.constant(0), (start, start), arrays),
        shape_invariants=None if tf.executing_eagerly() else invariants,
        maximum_iterations=steps,
    )
    forward, backward = (array.concat() for array in arrays)
    return rows.to_words(forward, backward)
