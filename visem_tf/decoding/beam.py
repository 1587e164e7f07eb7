"""Beam search: the K best partial sentences are kept at every step (paper, section 3.2)."""

from typing import Any

import tensorflow as tf
from numpy.typing import ArrayLike

from visem_tf.decoding.common import (
    StepwiseModel,
    batch_size,
    best_words,
    check_limits,
    flatten_beams,
    forbid,
    forbid_repeated,
    forbid_used,
    gather_beams,
    loop_invariants,
    map_rows,
    split_state,
)
from visem_tf.models.generator import ImageState
from visem_tf.text import END_ID, PAD_ID, START_ID

_EMPTY = -float("inf")  # log-probability of a beam that holds no sentence


def beam_search(
    generator: StepwiseModel,
    image_features: Any,
    beam_size: int = 7,
    max_length: int = 20,
    *,
    length_normalisation: float = 0.0,
    allow_unknown: bool = False,
    block_ngrams: int = 0,
    block_words: ArrayLike | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Writes the K best sentences that a beam finds, for every image.

    A beam that has produced END is finished: it is not extended, keeps its score, and stays a
    candidate until K better beams replace it. In the result finished sentences come before those
    that `max_length` cut off; within each group, better ones come first. The sentence of an image
    is therefore `token_ids[:, 0]`.

    Runs in graph, for any batch size; the loop ends when all beams are finished. The generator
    steps only the beams that are not finished, unless its state is an `ImageState`.

    Args:
        generator: Model with `initial_state` and `step`, such as `CaptionGenerator`.
        image_features: Float tensor [B, F], or what else the generator's `initial_state` takes.
        beam_size: K. With 1 the search is greedy search.
        max_length: L, the largest number of tokens, END counted.
        length_normalisation: Exponent of the length: beams are ranked by
            log p / length ** length_normalisation (END counted), during the search and at its
            end. 0 ranks by log p.
        allow_unknown: Whether UNK may be produced. PAD and START never are.
        block_ngrams: Length n of the n-grams that a sentence may not repeat; 0 allows all.
        block_words: Words that a sentence may not use twice, bool [V]; None allows all.

    Returns:
        token_ids: Int32 tensor [B, K, L]: the words, END, then PAD; best first.
        log_probs: Float32 tensor [B, K], the sums of the log-probabilities of these tokens, END
            counted, without length normalisation; minus infinity, with PAD alone, where fewer
            than K sentences exist.

    Raises:
        ValueError: If `beam_size` or `max_length` is below 1, or `block_ngrams` below 0.

    Example:
        >>> from visem_tf.models.caption_generator import CaptionGenerator
        >>> generator = CaptionGenerator(vocabulary_size=10, hidden_dim=8, word_dim=6)
        >>> token_ids, log_probs = beam_search(generator, tf.zeros([2, 5]), 3, max_length=7)
        >>> tuple(token_ids.shape), tuple(log_probs.shape)
        ((2, 3, 7), (2, 3))
    """
    check_limits(block_ngrams, beam_size=beam_size, max_length=max_length)
    batch = batch_size(image_features)
    column = tf.range(max_length)
    initial_state = generator.initial_state(image_features)
    state, restore = split_state(initial_state)
    steps_all = isinstance(initial_state, ImageState)  # its rows keep their places

    def stepped(log_probs, finished):
        """Whether the state has a row for each beam, bool [B K]."""
        return flatten_beams((~finished & (log_probs > _EMPTY)) | steps_all)

    def body(t, token_ids, last, log_probs, lengths, finished, state):
        has_row = stepped(log_probs, finished)
        row = tf.maximum(tf.cumsum(tf.cast(has_row, tf.int32)) - 1, 0)  # any for other beams
        row = tf.reshape(row, [batch, beam_size])
        last = tf.boolean_mask(flatten_beams(last), has_row)
        word_log_probs, next_state = generator.step(last, restore(state))
        word_log_probs = forbid(word_log_probs, allow_unknown)
        said = tf.boolean_mask(flatten_beams(token_ids), has_row)
        if block_ngrams:
            word_log_probs = forbid_repeated(word_log_probs, said, t, block_ngrams)
        if block_words is not None:
            word_log_probs = forbid_used(word_log_probs, said, block_words)

        # At most K words of one beam can be among the K best of all.
        width = tf.minimum(beam_size, tf.shape(word_log_probs)[-1])
        best, words = (tf.gather(part, row) for part in best_words(word_log_probs, width))
        # A finished beam has one continuation: itself.
        itself = tf.where(tf.range(width) == 0, 0.0, _EMPTY)
        best = tf.where(finished[:, :, tf.newaxis], itself, best)  # [B, K, W]
        words = tf.where(finished[:, :, tf.newaxis], PAD_ID, words)

        candidates = log_probs[:, :, tf.newaxis] + best
        lengths += tf.where(finished, 0, 1)
        ranking = candidates
        if length_normalisation:
            ranking /= tf.cast(lengths, tf.float32)[:, :, tf.newaxis] ** length_normalisation
        flat = [batch, beam_size * width]
        _, chosen = tf.math.top_k(tf.reshape(ranking, flat), beam_size)  # [B, K], best first
        parent = chosen // width
        log_probs = gather_beams(tf.reshape(candidates, flat), chosen)
        last = gather_beams(tf.reshape(words, flat), chosen)
        holds_sentence = log_probs > _EMPTY

        token_ids = gather_beams(token_ids, parent)
        token_ids = tf.where(column == t, last[:, :, tf.newaxis], token_ids)
        token_ids = tf.where(holds_sentence[:, :, tf.newaxis], token_ids, PAD_ID)
        lengths = gather_beams(lengths, parent)
        finished = (gather_beams(finished, parent) | (last == END_ID)) & holds_sentence
        parent_row = flatten_beams(gather_beams(row, parent))
        rows = tf.boolean_mask(parent_row, stepped(log_probs, finished))
        state = map_rows(lambda tensor: tf.gather(tensor, rows), split_state(next_state)[0])
        return t + 1, token_ids, last, log_probs, lengths, finished, state

    def continues(t, token_ids, last, log_probs, lengths, finished, state):
        return (t < max_length) & tf.reduce_any(~finished & (log_probs > _EMPTY))

    # All beams of an image begin alike, hence with the first one alone.
    log_probs = tf.zeros([batch, 1]) + tf.where(tf.range(beam_size) == 0, 0.0, _EMPTY)
    finished = tf.fill([batch, beam_size], False)
    rows = tf.boolean_mask(tf.range(batch * beam_size), stepped(log_probs, finished))
    loop = (
        tf.constant(0),
        tf.fill([batch, beam_size, max_length], PAD_ID),
        tf.fill([batch, beam_size], START_ID),
        log_probs,
        tf.fill([batch, beam_size], 0),
        finished,
        map_rows(lambda tensor: tf.gather(tensor, rows // beam_size), state),
    )
    _, token_ids, _, log_probs, _, finished, _ = tf.while_loop(
        continues, body, loop, shape_invariants=loop_invariants(loop)
    )
    # The loop leaves the beams best first; finished ones move to the front in the same order.
    order = tf.where(finished, 2 * beam_size, beam_size) - tf.range(beam_size)
    _, order = tf.math.top_k(order, beam_size)
    return gather_beams(token_ids, order), gather_beams(log_probs, order)
