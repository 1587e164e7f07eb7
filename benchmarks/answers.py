"""Answers of trained models: regions of words, captions, and rankings of images."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from benchmarks import floors
from benchmarks.inputs import DIM, FEATURES, REGIONS, VOCABULARY, features, lengths
from benchmarks.measuring import Case
from benchmarks.training import peer_in_float32
from visem_tf.alignment.mrf import smooth_alignment
from visem_tf.alignment.scores import alignment_scores
from visem_tf.decoding import beam_search, greedy_search
from visem_tf.metrics.ranking import ranking_metrics
from visem_tf.models.caption_generator import CaptionGenerator
from visem_tf.runs.scoring import score_blocks
from visem_tf.text import END_ID

BEAMS, STEPS = 7, 20


def mrf(count: int, given: Namespace) -> Iterator[Case]:
    """Yields the MRF over `count` sentences, given the similarities of words and regions.

    The MRF has no matrix products; its floor is computing the similarities.
    """
    length, part = lengths(np.random.default_rng(0), count), min(count, 500)
    similarities = tf.random.normal([count, length.max(), REGIONS])
    smooth = tf.function(smooth_alignment, autograph=False)
    mask = tf.sequence_mask(length, length.max())

    def floor():
        words = tf.random.normal([part, int(length.max()), DIM])
        regions = tf.random.normal([part, REGIONS, DIM])
        return floors.together(lambda: [tf.matmul(words, regions, transpose_b=True)[0, 0, 0]])

    yield Case(
        "MRF",
        f"{count:,} sentences, R = {REGIONS}; floor: their similarities, D = {DIM:,}",
        "sentences",
        count,
        lambda: smooth(similarities, mask, beta=0.5).numpy(),
        floor=floor,
        floor_share=part / count,
    )


def decoding(count: int, given: Namespace) -> Iterator[Case]:
    """Yields greedy and beam search for `count` images; every sentence has 20 words."""
    images = tf.constant(features(np.random.default_rng(0), count, FEATURES))
    for hidden in (256, 512):
        generator = CaptionGenerator(VOCABULARY, hidden, hidden)
        generator.initial_state(images)
        generator.output_projection.bias.assign(-50.0 * tf.one_hot(END_ID, VOCABULARY))
        for beams in (1, BEAMS):

            @tf.function(autograph=False)
            def search(images: tf.Tensor, generator=generator, beams=beams) -> tf.Tensor:
                if beams == 1:
                    return greedy_search(generator, images, STEPS)[0]
                return beam_search(generator, images, beams, STEPS)[0]

            yield Case(
                f"{'greedy' if beams == 1 else f'beam {beams}'}, rnn {hidden}",
                f"{count} images, {STEPS} words each, V = {VOCABULARY:,}",
                "captions",
                count,
                lambda search=search: search(images).numpy(),
                floor=lambda hidden=hidden, rows=[count * beams] * STEPS: floors.together(
                    floors.recurrence(rows, hidden, hidden, backward=False),
                    floors.recurrence(rows, hidden, hidden, backward=False),
                    floors.recurrence(rows, hidden, VOCABULARY, backward=False),
                ),
                peer=peer_in_float32("search", hidden, images, beams, STEPS),
            )


def ranking(count: int, given: Namespace) -> Iterator[Case]:
    """Yields the ranking of `count` images and five times as many sentences, from embeddings.

    The same sentences are used in all blocks: the embeddings of all would need gigabytes.
    """
    sentences, words, images_at_a_time, sentences_at_a_time = 5 * count, 11, 100, 500

    def blocks(total: int, at_a_time: int, items: int) -> list[tuple[tf.Tensor, tf.Tensor]]:
        sizes = [min(at_a_time, total - start) for start in range(0, total, at_a_time)]
        return [(tf.random.normal([n, items, DIM]), tf.ones([n, items], tf.bool)) for n in sizes]

    images = blocks(count, images_at_a_time, REGIONS)
    whole, rest = divmod(sentences, sentences_at_a_time)
    full = blocks(sentences_at_a_time, sentences_at_a_time, words) * whole
    texts = full + blocks(rest, sentences_at_a_time, words)
    image_index = np.arange(sentences) // 5
    score = tf.function(alignment_scores, reduce_retracing=True)

    @tf.function(reduce_retracing=True)
    def product(regions: tf.Tensor, words: tf.Tensor) -> tf.Tensor:
        flat = tf.reshape(regions, [-1, DIM])
        return tf.matmul(tf.reshape(words, [-1, DIM]), flat, transpose_b=True)[0, 0]

    yield Case(
        "ranking with regions",
        f"{count:,} x {sentences:,}, R = {REGIONS}, {words} words, D = {DIM:,}",
        "scores",
        count * sentences,
        lambda: ranking_metrics(score_blocks(score, images, iter(texts), sentences), image_index),
        floor=lambda: (
            lambda: [product(regions, words).numpy() for words, _ in texts for regions, _ in images]
        ),
    )
