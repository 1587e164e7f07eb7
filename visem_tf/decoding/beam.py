"""Beam search: the K likeliest beginnings are kept at every step (paper, section 3)."""

from typing import Any

import tensorflow as tf

from visem_tf.decoding.best_words import best_words
from visem_tf.decoding.ngrams import forbid_repeated
from visem_tf.decoding.state import (
    StepwiseModel,
    batch_size,
    forbid,
    map_rows,
    row_invariants,
    split_state,
)
from visem_tf.models.picture_state import PictureState
from visem_tf.text import END_ID, PAD_ID, START_ID

_NEVER = -float("inf")  # score of a beam that holds no sentence


def beam_search(
    generator: StepwiseModel,
    image_features: Any,
    beam_size: int = 7,
    max_length: int = 20,
    *,
    length_normalisation: float = 0.0,
    allow_unknown: bool = False,
    block_ngrams: int = 0,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Writes the K best sentences that a beam finds, for every picture.

    A beam that has said END is finished: it grows no further, keeps its score, and stays a
    candidate against those that still grow, until K better ones push it out. Finished sentences
    come before those that `max_length` cut off; among each, the better comes first. So the result
    proper is `token_ids[:, 0]`: the best finished one, or the best unfinished one when none is
    finished.

    Runs in graph, for any batch size; the loop ends when all beams are finished. The generator is
    asked about beams that grow only, unless its state has a part for pictures.

    Args:
      generator: has `initial_state` and `step`, as `CaptionGenerator` does.
      image_features: float [B, F], or what else the generator's `initial_state` takes.
      beam_size: K. One is greedy search.
      max_length: L, the largest number of tokens, END counted.
      length_normalisation: beams are ranked by log p / length ** length_normalisation (END
        counted), during the search and in the end; 0 ranks by log p itself.
      allow_unknown: whether UNK may be produced. PAD and START never are.
      block_ngrams: n; no n words in a row are said twice in a sentence. 0 allows it.

    Returns:
      token_ids int32 [B, K, L]: the words, END, then PAD; best first.
      log_probs float32 [B, K]: sums of the log-probabilities of these tokens, END counted,
        whatever ranked them; minus infinity, with nothing but PAD, where fewer than K sentences
        exist.

    Raises:
      ValueError: if `beam_size` or `max_length` is below 1, or `block_ngrams` below 0.

    Example:
        >>> from visem_tf.models.caption_generator import CaptionGenerator
        >>> generator = CaptionGenerator(vocabulary_size=10, hidden_dim=8, word_dim=6)
        >>> token_ids, log_probs = beam_search(generator, tf.zeros([2, 5]), 3, max_length=7)
        >>> tuple(token_ids.shape), tuple(log_probs.shape)
        ((2, 3, 7), (2, 3))
    """
    for name, value in (("beam_size", beam_size), ("max_length", max_length)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    if block_ngrams < 0:
        raise ValueError(f"block_ngrams must be at least 0, got {block_ngrams}")
    batch = batch_size(image_features)
    first_row = tf.range(batch)[:, tf.newaxis] * beam_size  # [B, 1], rows of the state
    column = tf.range(max_length)
    first_beam = tf.where(tf.equal(tf.range(beam_size), 0), 0.0, _NEVER)  # all begin alike

    def asked(log_probs, finished):
        """Whether the state has a row for a beam, bool [B K]."""
        if of_pictures:  # rows have their places beside the pictures
            return tf.fill([batch * beam_size], True)
        growing = tf.logical_and(tf.logical_not(finished), log_probs > _NEVER)
        return tf.reshape(growing, [-1])

    def body(t, token_ids, last, log_probs, lengths, finished, state):
        ask = asked(log_probs, finished)
        answers, state = generator.step(tf.boolean_mask(tf.reshape(last, [-1]), ask), whole(state))
        state, _ = split_state(state)
        answers = forbid(answers, allow_unknown)
        if block_ngrams:
            said = tf.boolean_mask(tf.reshape(token_ids, [-1, max_length]), ask)
            answers = forbid_repeated(answers, said, t, block_ngrams)
        # At most K words of one beam can be among the K best of all.
        width = tf.minimum(beam_size, tf.shape(answers)[-1])
        best, best_ids = best_words(answers, width)  # [n, W]
        # The row of every beam's answer; one that was not asked finds another's, which is not used.
        answer = tf.maximum(tf.cumsum(tf.cast(ask, tf.int32)) - 1, 0)
        grid = tf.reshape(answer, [batch, beam_size])
        best_log_probs, words = tf.gather(best, grid), tf.gather(best_ids, grid)  # [B, K, W]
        # A finished beam goes on in one way only: as it is.
        as_it_is = tf.where(tf.equal(tf.range(width), 0), 0.0, _NEVER)
        best_log_probs = tf.where(finished[:, :, tf.newaxis], as_it_is, best_log_probs)
        words = tf.where(finished[:, :, tf.newaxis], PAD_ID, words)

        candidates = log_probs[:, :, tf.newaxis] + best_log_probs  # [B, K, W]
        lengths += tf.where(finished, 0, 1)
        ranking = candidates
        if length_normalisation:
            ranking /= tf.cast(lengths, tf.float32)[:, :, tf.newaxis] ** length_normalisation
        flat = [batch, beam_size * width]
        _, chosen = tf.math.top_k(tf.reshape(ranking, flat), beam_size)  # [B, K], best first
        parent = chosen // width
        log_probs = tf.gather(tf.reshape(candidates, flat), chosen, batch_dims=1)
        last = tf.gather(tf.reshape(words, flat), chosen, batch_dims=1)
        alive = log_probs > _NEVER  # a beam without a sentence says nothing, END included

        token_ids = tf.gather(token_ids, parent, batch_dims=1)
        token_ids = tf.where(tf.equal(column, t), last[:, :, tf.newaxis], token_ids)
        token_ids = tf.where(alive[:, :, tf.newaxis], token_ids, PAD_ID)
        lengths = tf.gather(lengths, parent, batch_dims=1)
        finished = tf.gather(finished, parent, batch_dims=1)
        finished = tf.logical_or(finished, tf.equal(last, END_ID))
        finished = tf.logical_and(finished, alive)
        before = tf.gather(answer, tf.reshape(first_row + parent, [-1]))
        rows = tf.boolean_mask(before, asked(log_probs, finished))
        state = map_rows(lambda tensor: tf.gather(tensor, rows), state)
        return t + 1, token_ids, last, log_probs, lengths, finished, state

    def goes_on(t, token_ids, last, log_probs, lengths, finished, state):
        growing = tf.logical_and(tf.logical_not(finished), log_probs > _NEVER)
        return tf.logical_and(t < max_length, tf.reduce_any(growing))

    first_state = generator.initial_state(image_features)
    of_pictures = isinstance(first_state, PictureState)
    state, whole = split_state(first_state)
    log_probs = tf.zeros([batch, 1]) + first_beam
    finished = tf.fill([batch, beam_size], False)
    rows = tf.boolean_mask(tf.range(batch * beam_size), asked(log_probs, finished))
    state = map_rows(lambda tensor: tf.gather(tensor, rows // beam_size), state)
    loop = (
        tf.constant(0),
        tf.fill([batch, beam_size, max_length], PAD_ID),
        tf.fill([batch, beam_size], START_ID),
        log_probs,
        tf.fill([batch, beam_size], 0),
        finished,
        state,
    )
    beams = tf.TensorShape([None, beam_size])
    invariants = (
        tf.TensorShape([]),
        tf.TensorShape([None, beam_size, max_length]),
        *[beams] * 4,
        row_invariants(state),
    )
    _, token_ids, _, log_probs, _, finished, _ = tf.while_loop(
        goes_on, body, loop, shape_invariants=invariants
    )
    # The loop leaves the beams best first; finished ones move to the front in the same order.
    order = tf.where(finished, 2 * beam_size, beam_size) - tf.range(beam_size)
    _, order = tf.math.top_k(order, beam_size)
    return (
        tf.gather(token_ids, order, batch_dims=1),
        tf.gather(log_probs, order, batch_dims=1),
    )
