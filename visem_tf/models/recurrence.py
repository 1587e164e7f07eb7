"""Recurrences over sentences of unequal length, without steps on padding.

Sentences are sorted by length, the longest first, so that step t works on the first rows only. The
words of all sentences are "packed": all first words, all second words, and so on. Read backwards, a
sentence has the same length, so both directions of a bidirectional network share one loop.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from visem_tf.models.cells import gru_step

Rows = tuple[tf.Tensor, ...]
Advance = Callable[[Rows, Rows, tf.Tensor], tuple[Rows, Rows]]


class SortedSentences:
    """The order of sentences by length, and of their words by steps.

    Args:
        lengths: Number of words of every sentence, int32 tensor [B].

    Attributes:
        order: Indices of the sentences, the longest first, int32 tensor [B].
        counts: Number of sentences with a word at each step, int32 tensor [T], never increasing.
            There is always at least one step, possibly without a word.

    Example:
        >>> found = SortedSentences(tf.constant([1, 2]))
        >>> found.order.numpy(), found.counts.numpy()
        (array([1, 0], dtype=int32), array([2, 1], dtype=int32))
        >>> found.rows(step=tf.constant([0, 0, 1]), sentence=tf.constant([0, 1, 1])).numpy()
        array([1, 0, 2], dtype=int32)
    """

    def __init__(self, lengths: tf.Tensor) -> None:
        self.order = tf.argsort(lengths, direction="DESCENDING", stable=True)
        steps = tf.range(tf.maximum(tf.reduce_max(lengths), 1))
        self.counts = tf.reduce_sum(tf.cast(lengths > steps[:, tf.newaxis], tf.int32), axis=1)
        self._rank = tf.math.invert_permutation(self.order)
        self._start = tf.cumsum(self.counts, exclusive=True)

    def rows(self, step: tf.Tensor, sentence: tf.Tensor) -> tf.Tensor:
        """Returns the packed rows of words, given their steps and sentences, both int32 [M]."""
        return tf.gather(self._start, step) + tf.gather(self._rank, sentence)

    def sort(self, values: Any) -> Any:
        """Sorts a nest of tensors [B, ...], the longest sentence first."""
        return tf.nest.map_structure(lambda tensor: tf.gather(tensor, self.order), values)

    def first(self, values: Any, count: tf.Tensor) -> Any:
        """Returns the first `count` rows of a nest of sorted tensors [B, ...]."""
        # The gradient of a slice has the size of the whole, so nothing is cut while all go on.
        return tf.cond(
            tf.equal(count, tf.shape(self.order)[0]),
            lambda: values,
            lambda: tf.nest.map_structure(lambda tensor: tensor[:count], values),
        )


def unroll(
    advance: Advance,
    inputs: Rows,
    counts: tf.Tensor,
    state: Rows,
    sizes: tuple[int, ...],
    reverse: bool = False,
) -> Rows:
    """Runs a recurrence step by step over packed words.

    Args:
        advance: Function from the inputs [n, ...] of a step, the state after the previous step and
            n to the next state and the outputs [n, size] of the step.
        inputs: Tensors [M, ...] of packed words.
        counts: Number of words n of every step, int32 tensor [T].
        state: Tensors [..., H] before the first step.
        sizes: Size of each of the outputs.
        reverse: Whether to run from the last step to the first.

    Returns:
        Packed outputs, [M, size] for each of `sizes`.
    """
    steps, dtype = tf.shape(counts)[0], inputs[0].dtype
    # Slices of one tensor would each have a gradient of its whole size.
    arrays = tuple(
        tf.TensorArray(
            values.dtype, steps, infer_shape=False, element_shape=[None, *values.shape[1:]]
        ).split(values, counts)
        for values in inputs
    )
    outputs = tuple(
        tf.TensorArray(dtype, steps, infer_shape=False, element_shape=[None, size])
        for size in sizes
    )

    def body(t: tf.Tensor, state: Rows, outputs: tuple) -> tuple:
        step = steps - 1 - t if reverse else t
        state, found = advance(tuple(array.read(step) for array in arrays), state, counts[step])
        written = (array.write(step, rows) for array, rows in zip(outputs, found, strict=True))
        return t + 1, state, tuple(written)

    invariants = (
        tf.TensorShape([]),
        tuple(tf.TensorShape([None, *rows.shape[1:]]) for rows in state),
        tuple(tf.TensorShape(None) for _ in outputs),
    )
    _, _, outputs = tf.while_loop(
        lambda t, *_: t < steps,
        body,
        (tf.constant(0), state, outputs),
        shape_invariants=None if tf.executing_eagerly() else invariants,
        maximum_iterations=steps,
    )
    return tuple(array.concat() for array in outputs)


class DeferredProduct:
    """A product in a recurrence, z_t = x_t W + a_t, whose gradient for W is computed afterwards.

    The automatic gradient of a loop adds up one gradient of W for each step. Here the addends a_t
    pass through a function that is the identity, but whose gradient is that of W as well: one
    product of all x_t with the gradients of all z_t.

    Args:
        addends: a_t of all steps, float tensor [M, O], packed.
        kernel: W, float tensor [I, O].

    Attributes:
        addends: The same values; what is read of them in the loop must be added to `multiply`.

    Example:
        >>> kernel = tf.constant([[2.0]])
        >>> with tf.GradientTape() as tape:
        ...     tape.watch(kernel)
        ...     product = DeferredProduct(tf.zeros([3, 1]), kernel)
        ...     rows = tf.constant([[1.0], [2.0], [3.0]])
        ...     total = tf.reduce_sum(product.multiply(rows) + product.addends)
        ...     product.close(rows)
        >>> tape.gradient(total, kernel).numpy()
        array([[6.]], dtype=float32)
    """

    def __init__(self, addends: tf.Tensor, kernel: tf.Tensor) -> None:
        self._kernel = tf.stop_gradient(kernel)
        self._rows: tf.Tensor | None = None

        @tf.custom_gradient
        def carry(addends: tf.Tensor, kernel: tf.Tensor) -> Any:
            def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
                return upstream, tf.matmul(self._rows, upstream, transpose_a=True)

            return tf.identity(addends), gradient

        self.addends = carry(addends, kernel)

    def multiply(self, rows: tf.Tensor) -> tf.Tensor:
        """Returns x_t W, [n, O], without a gradient for W."""
        return tf.matmul(rows, self._kernel)

    def close(self, rows: tf.Tensor) -> None:
        """Takes x_t of all steps, float tensor [M, I], packed as the addends are."""
        self._rows = tf.stop_gradient(rows)


def bidirectional_rnn(
    inputs: tf.Tensor,
    lengths: tf.Tensor,
    forward_kernel: tf.Tensor,
    forward_bias: tf.Tensor,
    backward_kernel: tf.Tensor,
    backward_bias: tf.Tensor,
) -> tf.Tensor:
    """Runs the two recurrences of the paper's BRNN (section 3.1.2), with f the ReLU.

        hf_t = f(e_t + W_f hf_{t-1} + b_f)      left to right
        hb_t = f(e_t + W_b hb_{t+1} + b_b)      right to left, from the last word of the sentence

    The gradient is written out: it computes the gradient of each kernel by one product over all
    words, where the automatic gradient would compute one product per step.

    Args:
        inputs: e_t, float tensor [M, H], the words of all sentences one after the other.
        lengths: Number of words of every sentence, int32 tensor [B]; the sum is M.
        forward_kernel: W_f, float tensor [H, H], multiplied from the right (h @ W).
        forward_bias: b_f, float tensor [H].
        backward_kernel: W_b, float tensor [H, H].
        backward_bias: b_b, float tensor [H].

    Returns:
        hf_t + hb_t, float tensor [M, H], in the order of `inputs`.

    Example:
        >>> import tensorflow as tf
        >>> one, zero = tf.ones([1, 1]), tf.zeros([1])
        >>> words = tf.constant([[1.0], [2.0], [5.0]])  # a sentence of two words, one of one
        >>> bidirectional_rnn(words, tf.constant([2, 1]), one, zero, one, zero).numpy().ravel()
        array([ 4.,  5., 10.], dtype=float32)
    """
    counts, rows = _pack_both_ways(lengths)
    words = [tf.math.invert_permutation(direction) for direction in rows]
    # A word's packed row minus that of the word before it in the sentence, from step 1 on.
    distance = tf.repeat(counts[:-1], counts[1:])
    sizes = (inputs.shape[-1],) * 2

    @tf.custom_gradient
    def recurrence(inputs, forward_kernel, forward_bias, backward_kernel, backward_bias):
        kernels = forward_kernel, backward_kernel
        no_rows = (tf.zeros_like(inputs[:0]),) * 2

        def advance(inputs, state, count):
            state = tuple(
                tf.nn.relu(_multiply(hidden, kernel, count) + rows)
                for rows, hidden, kernel in zip(inputs, state, kernels, strict=True)
            )
            return state, state

        packed = tuple(
            tf.gather(inputs, order) + bias
            for order, bias in zip(words, (forward_bias, backward_bias), strict=True)
        )
        hidden = unroll(advance, packed, counts, no_rows, sizes)

        def gradient(upstream):
            transposed = [tf.transpose(kernel) for kernel in kernels]

            def advance_back(inputs, later, count):
                later = tuple(
                    tf.raw_ops.ReluGrad(
                        gradients=rows + _multiply(after, kernel, count), features=h
                    )
                    for rows, h, after, kernel in zip(
                        inputs[:2], inputs[2:], later, transposed, strict=True
                    )
                )
                return later, later

            packed = tuple(tf.gather(upstream, order) for order in words)
            gradients = unroll(
                advance_back, (*packed, *hidden), counts, no_rows, sizes, reverse=True
            )
            previous = tf.range(counts[0], tf.shape(inputs)[0]) - distance
            of_weights = [
                (
                    tf.matmul(tf.gather(h, previous), rows[counts[0] :], transpose_a=True),
                    tf.reduce_sum(rows, axis=0),
                )
                for h, rows in zip(hidden, gradients, strict=True)
            ]
            return _sum_directions(gradients, rows), *of_weights[0], *of_weights[1]

        return _sum_directions(hidden, rows), gradient

    return recurrence(inputs, forward_kernel, forward_bias, backward_kernel, backward_bias)


def bidirectional_gru(
    forward_inputs: tf.Tensor,
    backward_inputs: tf.Tensor,
    lengths: tf.Tensor,
    forward_kernel: tf.Tensor,
    forward_bias: tf.Tensor,
    backward_kernel: tf.Tensor,
    backward_bias: tf.Tensor,
) -> tf.Tensor:
    """Runs gated recurrent units in both directions.

    Args:
        forward_inputs: W x_t of the gates (see `gru_step`), float tensor [M, 3 H], the words of all
            sentences one after the other.
        backward_inputs: The same for the other direction.
        lengths: Number of words of every sentence, int32 tensor [B]; the sum is M.
        forward_kernel: U, float tensor [H, 3 H].
        forward_bias: b, float tensor [3 H].
        backward_kernel: Float tensor [H, 3 H].
        backward_bias: Float tensor [3 H].

    Returns:
        hf_t + hb_t, float tensor [M, H], in the order of the inputs.

    Example:
        >>> import tensorflow as tf
        >>> inputs, kernel, bias = tf.zeros([3, 3]), tf.zeros([1, 3]), tf.constant([0.0, 0.0, 9.0])
        >>> lengths = tf.constant([2, 1])  # h = 1/2 after a word, 3/4 after two
        >>> bidirectional_gru(inputs, inputs, lengths, kernel, bias, kernel, bias).numpy().round(2)
        array([[1.25],
               [1.25],
               [1.  ]], dtype=float32)
    """
    counts, rows = _pack_both_ways(lengths)
    weights = (forward_kernel, forward_bias), (backward_kernel, backward_bias)
    packed = tuple(
        tf.gather(inputs, tf.math.invert_permutation(direction))
        for inputs, direction in zip((forward_inputs, backward_inputs), rows, strict=True)
    )
    size = forward_kernel.shape[0]
    state = (tf.zeros([counts[0], size], forward_inputs.dtype),) * 2

    def advance(inputs: Rows, state: Rows, count: tf.Tensor) -> tuple[Rows, Rows]:
        after = []
        for words, hidden, (kernel, bias) in zip(inputs, state, weights, strict=True):
            hidden = hidden[:count]
            recurrent = tf.matmul(hidden, kernel) + bias
            after.append(gru_step(words, recurrent, (hidden,))[0])
        return tuple(after), tuple(after)

    return _sum_directions(unroll(advance, packed, counts, state, (size, size)), rows)


def _pack_both_ways(lengths: tf.Tensor) -> tuple[tf.Tensor, Rows]:
    """Counts [T], and the packed row of every word, [M], read forward and backward."""
    sentences = SortedSentences(lengths)
    sentence = tf.repeat(tf.range(tf.shape(lengths)[0]), lengths)
    first = tf.gather(tf.cumsum(lengths, exclusive=True), sentence)
    step = tf.range(tf.shape(sentence)[0]) - first
    last_step = tf.gather(lengths, sentence) - 1
    return sentences.counts, (
        sentences.rows(step, sentence),
        sentences.rows(last_step - step, sentence),
    )


def _sum_directions(packed: Rows, rows: Rows) -> tf.Tensor:
    """The sum of both directions, in the order of the words."""
    return tf.gather(packed[0], rows[0]) + tf.gather(packed[1], rows[1])


def _multiply(hidden: tf.Tensor, kernel: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    """h W for `count` rows: of the first rows if there are more, with zeros added if fewer."""
    product = tf.matmul(hidden[:count], kernel)
    return tf.pad(product, [[0, count - tf.shape(product)[0]], [0, 0]])
