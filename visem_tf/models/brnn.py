"""The two recurrences of the paper's BRNN, over sentences of unequal length.

Section 1 of the paper, with f the ReLU:

    hf_t = f(e_t + W_f hf_{t-1} + b_f)      left to right
    hb_t = f(e_t + W_b hb_{t+1} + b_b)      right to left, from the sentence's own last word

No step is spent on padding: sentences are sorted by length, and step t works on the rows of those
that have a t-th word. Read backwards a sentence has the same length, so both directions share one
loop and one order of rows ("packed": all first words, all second words, ...).
"""

import tensorflow as tf


def bidirectional_recurrence(
    inputs: tf.Tensor,
    lengths: tf.Tensor,
    forward_kernel: tf.Tensor,
    forward_bias: tf.Tensor,
    backward_kernel: tf.Tensor,
    backward_bias: tf.Tensor,
) -> tf.Tensor:
    """hf_t + hb_t for every word.

    The gradient is written out: it multiplies for the two kernels once, over all words, where the
    automatic one would do so in every step.

    Args:
      inputs: e_t, float [words, H], the words of all sentences one after the other.
      lengths: int32 [N], the number of words of every sentence; their sum is `words`.
      forward_kernel: W_f, float [H, H], used as h @ W.
      forward_bias: b_f, float [H].
      backward_kernel: W_b, float [H, H].
      backward_bias: b_b, float [H].

    Returns:
      float [words, H], in the order of `inputs`.

    >>> import tensorflow as tf
    >>> one, zero = tf.ones([1, 1]), tf.zeros([1])
    >>> words = tf.constant([[1.0], [2.0], [5.0]])  # a sentence of two words, one of one
    >>> bidirectional_recurrence(words, tf.constant([2, 1]), one, zero, one, zero).numpy().ravel()
    array([ 4.,  5., 10.], dtype=float32)
    """
    rows = PackedRows(lengths)

    @tf.custom_gradient
    def recurrence(inputs, forward_kernel, forward_bias, backward_kernel, backward_bias):
        forward, backward = _run(
            rows,
            tf.gather(inputs, rows.forward) + forward_bias,
            tf.gather(inputs, rows.backward) + backward_bias,
            forward_kernel,
            backward_kernel,
        )

        def gradient(upstream):
            forward_gradient, backward_gradient = _run_back(
                rows,
                tf.gather(upstream, rows.forward),
                tf.gather(upstream, rows.backward),
                forward,
                backward,
                tf.transpose(forward_kernel),
                tf.transpose(backward_kernel),
            )
            return (
                rows.to_words(forward_gradient, backward_gradient),
                rows.kernel_gradient(forward, forward_gradient),
                tf.reduce_sum(forward_gradient, axis=0),
                rows.kernel_gradient(backward, backward_gradient),
                tf.reduce_sum(backward_gradient, axis=0),
            )

        return rows.to_words(forward, backward), gradient

    return recurrence(inputs, forward_kernel, forward_bias, backward_kernel, backward_bias)


class PackedRows:
    """Where every word goes in the packed order, for both directions."""

    def __init__(self, lengths: tf.Tensor):
        self.steps = tf.maximum(tf.reduce_max(lengths), 0)
        order = tf.argsort(lengths, direction="DESCENDING", stable=True)
        has_word = tf.gather(lengths, order) > tf.range(self.steps)[:, tf.newaxis]  # [T, N]
        step, rank = tf.unstack(tf.cast(tf.where(has_word), tf.int32), axis=1)  # both [words]
        sentence = tf.gather(order, rank)
        first = tf.gather(tf.cumsum(lengths, exclusive=True), sentence)
        last = first + tf.gather(lengths, sentence) - 1
        self.forward = first + step  # [words], the word in each packed row
        self.backward = last - step
        self._from_forward = tf.math.invert_permutation(self.forward)
        self._from_backward = tf.math.invert_permutation(self.backward)
        # One more, empty step, so that step 0 exists even where there is no word at all.
        self.count = tf.pad(tf.reduce_sum(tf.cast(has_word, tf.int32), axis=1), [[0, 1]])
        self.start = tf.cumsum(self.count, exclusive=True)
        self._later = self.count[0]  # the first row of step 1
        self._previous = (tf.gather(self.start, tf.maximum(step - 1, 0)) + rank)[self._later :]

    def of(self, packed: tf.Tensor, step: tf.Tensor | int) -> tf.Tensor:
        """The rows [count, H] of one step."""
        start = self.start[step]
        return packed[start : start + self.count[step]]

    def to_words(self, forward: tf.Tensor, backward: tf.Tensor) -> tf.Tensor:
        """The sum of both directions, in the order of the words."""
        return tf.gather(forward, self._from_forward) + tf.gather(backward, self._from_backward)

    def kernel_gradient(self, hidden: tf.Tensor, gradient: tf.Tensor) -> tf.Tensor:
        """The sum over t of h_{t-1}^T dh_t as one product; the first step has no h_{t-1}."""
        previous = tf.gather(hidden, self._previous)
        return tf.matmul(previous, gradient[self._later :], transpose_a=True)


def _run(rows, forward_inputs, backward_inputs, forward_kernel, backward_kernel):
    """h_t = f(inputs_t + h_{t-1} W) in both directions; all but the kernels packed [words, H]."""

    def step(t, forward, backward, all_forward, all_backward):
        count = rows.count[t]
        forward = tf.matmul(forward[:count], forward_kernel) + rows.of(forward_inputs, t)
        backward = tf.matmul(backward[:count], backward_kernel) + rows.of(backward_inputs, t)
        forward, backward = tf.nn.relu(forward), tf.nn.relu(backward)
        return (
            t + 1,
            forward,
            backward,
            all_forward.write(t, forward),
            all_backward.write(t, backward),
        )

    first = tf.nn.relu(rows.of(forward_inputs, 0)), tf.nn.relu(rows.of(backward_inputs, 0))
    return _loop(rows, lambda t, *_: t < rows.steps, step, 1, first)


def _run_back(rows, forward_upstream, backward_upstream, forward, backward, *transposed_kernels):
    """The gradient with respect to the inputs of `_run`, from the last step to the first."""
    forward_kernel, backward_kernel = transposed_kernels

    def through(upstream, later, hidden, kernel, t):
        later = tf.matmul(later, kernel)
        later = tf.pad(later, [[0, rows.count[t] - tf.shape(later)[0]], [0, 0]])
        return tf.raw_ops.ReluGrad(
            gradients=rows.of(upstream, t) + later, features=rows.of(hidden, t)
        )

    def step(t, later_forward, later_backward, all_forward, all_backward):
        later_forward = through(forward_upstream, later_forward, forward, forward_kernel, t)
        later_backward = through(backward_upstream, later_backward, backward, backward_kernel, t)
        return (
            t - 1,
            later_forward,
            later_backward,
            all_forward.write(t, later_forward),
            all_backward.write(t, later_backward),
        )

    last = tf.maximum(rows.steps - 1, 0)
    start = tuple(
        tf.raw_ops.ReluGrad(gradients=rows.of(upstream, last), features=rows.of(hidden, last))
        for upstream, hidden in ((forward_upstream, forward), (backward_upstream, backward))
    )
    return _loop(rows, lambda t, *_: t >= 0, step, last - 1, start)


def _loop(rows, condition, step, t, first):
    """Runs `step` with `first` as the state before it, and stacks all states packed."""
    before = t - 1 if isinstance(t, int) else t + 1
    state_shape = tf.TensorShape([None, first[0].shape[-1]])
    arrays = [
        tf.TensorArray(
            state.dtype,
            tf.maximum(rows.steps, 1),
            clear_after_read=False,
            infer_shape=False,
            element_shape=state_shape,
        ).write(before, state)
        for state in first
    ]
    shapes = (tf.TensorShape([]), state_shape, state_shape, None, None)
    invariants = None if tf.executing_eagerly() else shapes
    _, _, _, *arrays = tf.while_loop(
        condition, step, (tf.convert_to_tensor(t), *first, *arrays), shape_invariants=invariants
    )
    return tuple(array.concat() for array in arrays)
