"""Recurrences over sentences of token ids, by operations that TFLite has.

The models skip padding by operations that TFLite does not have. Here every step is computed for all
sentences.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from visem_tf.decoding.common import map_rows, split_state
from visem_tf.models.attention_generator import AttentionGenerator
from visem_tf.models.cells import gru_step
from visem_tf.models.sentence_encoder import (
    BaseSentenceEncoder,
    GruSentenceEncoder,
    SentenceEncoder,
)
from visem_tf.text import PAD_ID, START_ID

Step = Callable[[tf.Tensor, Any], tuple[tf.Tensor, Any]]
"""Function from the place of a word and the state to the output [N, size] and the next state."""


def embed_padded(encoder: BaseSentenceEncoder, token_ids: tf.Tensor) -> tf.Tensor:
    """Encodes sentences as their encoder does.

    The state stays zero after the end of a sentence, and in the backward direction before its last
    word.

    Args:
        encoder: The BRNN, or gated recurrent units.
        token_ids: Token ids int32 [N, T].

    Returns:
        Word embeddings float [N, T, D], zeros in the padding.
    """
    # Without `tf.newaxis`, which becomes an operation that TFLite has for few ranks only.
    mask = tf.expand_dims(tf.cast(tf.not_equal(token_ids, PAD_ID), tf.float32), 2)  # [N, T, 1]
    words = encoder.word_vectors(token_ids)  # x_t
    if isinstance(encoder, GruSentenceEncoder):
        step_of, share = _gru, 0.5
        inputs = encoder.forward_projection(words), encoder.backward_projection(words)
    elif isinstance(encoder, SentenceEncoder):
        step_of, share = _relu, 1.0
        inputs = (encoder.word_projection(words),) * 2  # e_t [N, T, H]
    else:
        raise TypeError(f"TFLite has no form of {type(encoder).__name__}")

    def direction(words: tf.Tensor, kernel: Any, bias: Any, *, reverse: bool) -> tf.Tensor:
        kernel, bias = tf.convert_to_tensor(kernel), tf.convert_to_tensor(bias)

        def step(now: tf.Tensor, hidden: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            word, real = tf.gather(words, now, axis=1), tf.gather(mask, now, axis=1)
            hidden = step_of(word, tf.matmul(hidden, kernel) + bias, hidden) * real
            return hidden, hidden

        hidden_dim = kernel.shape[0]
        first = tf.zeros([tf.shape(words)[0], hidden_dim])
        return _unroll(step, first, tf.zeros_like(words[:, :, :hidden_dim]), reverse=reverse)

    forward = direction(inputs[0], encoder.forward_kernel, encoder.forward_bias, reverse=False)
    backward = direction(inputs[1], encoder.backward_kernel, encoder.backward_bias, reverse=True)
    return encoder.output_projection(share * (forward + backward)) * mask


def attend_padded(generator: AttentionGenerator, inputs: Any, token_ids: tf.Tensor) -> tf.Tensor:
    """Computes the weights of `AttentionGenerator.attention`.

    Args:
        generator: Generator that attends to regions.
        inputs: B images, from its `inputs_of_images`.
        token_ids: Captions without START, int32 [B, T].

    Returns:
        Weights α, float [B, T, R]; those after the last word have no meaning.
    """
    starts = tf.fill([tf.shape(token_ids)[0], 1], START_ID)
    before = tf.concat([starts, token_ids[:, :-1]], axis=1)
    state, restore = split_state(generator.initial_state(inputs))

    def step(now: tf.Tensor, state: Any) -> tuple[tf.Tensor, Any]:
        weights, after = generator.attend(tf.gather(before, now, axis=1), restore(state))
        return weights, map_rows(tf.identity, split_state(after)[0])

    shape = tf.concat([tf.shape(token_ids), tf.shape(inputs["region_mask"])[1:]], axis=0)
    return _unroll(step, state, tf.zeros(shape))


def _unroll(step: Step, state: Any, outputs: tf.Tensor, *, reverse: bool = False) -> tf.Tensor:
    """Runs a recurrence over all places and returns its outputs.

    Args:
        step: The step of the recurrence.
        state: Nest of tensors [N, …] before the first step.
        outputs: Zeros [N, T, size], in the shape of the outputs.
        reverse: Whether to run from the last place to the first.
    """
    steps = tf.shape(outputs)[1]
    column = tf.expand_dims(tf.range(steps), 1)  # [T, 1]

    def body(t: tf.Tensor, state: Any, outputs: tf.Tensor) -> tuple[tf.Tensor, Any, tf.Tensor]:
        now = steps - 1 - t if reverse else t
        output, state = step(now, state)
        here = tf.cast(tf.equal(column, now), tf.float32)  # [T, 1]
        return t + 1, state, outputs + here * tf.expand_dims(output, 1)

    rows = tf.nest.map_structure(lambda tensor: tf.TensorShape([None, *tensor.shape[1:]]), state)
    return tf.while_loop(
        lambda t, *_: t < steps,
        body,
        (tf.constant(0), state, outputs),
        shape_invariants=(tf.TensorShape([]), rows, tf.TensorShape([None, None, outputs.shape[2]])),
    )[2]


def _relu(word: tf.Tensor, recurrent: tf.Tensor, hidden: tf.Tensor) -> tf.Tensor:
    return tf.nn.relu(word + recurrent)


def _gru(word: tf.Tensor, recurrent: tf.Tensor, hidden: tf.Tensor) -> tf.Tensor:
    return gru_step(word, recurrent, (hidden,))[0]
