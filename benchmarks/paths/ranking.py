"""Ranking of images with regions and of sentences, with the code that evaluates runs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from benchmarks.case import Case
from benchmarks.reference import alignment as reference
from visem_tf.alignment.scores import alignment_scores
from visem_tf.metrics.ranking import ranking_metrics
from visem_tf.runs.scoring import score_blocks

PICTURES = {"small": 250, "middle": 500, "large": 1_000}
REGIONS, WORDS, DIM = 20, 11, 1_000
PICTURES_AT_A_TIME, SENTENCES_AT_A_TIME, PLAIN = 100, 500, 100


def cases(size: str) -> Iterator[Case]:
    """Yields the scores of all pairs, five sentences per image, and the ranks, from embeddings."""
    random, count = np.random.default_rng(0), PICTURES[size]
    sentences = 5 * count

    def block(rows: int, items: int) -> tuple[tf.Tensor, tf.Tensor]:
        vectors = random.standard_normal([rows, items, DIM], np.float32)
        return tf.constant(vectors), tf.ones([rows, items], tf.bool)

    def sizes(whole: int, part: int) -> list[int]:
        return [min(part, whole - start) for start in range(0, whole, part)]

    pictures = [block(rows, REGIONS) for rows in sizes(count, PICTURES_AT_A_TIME)]
    # Reuse the same sentences in all blocks: the embeddings of all would need gigabytes.
    some = {rows: block(rows, WORDS) for rows in set(sizes(sentences, SENTENCES_AT_A_TIME))}
    order = sizes(sentences, SENTENCES_AT_A_TIME)
    image_index = np.arange(sentences) // 5
    score = tf.function(alignment_scores, reduce_retracing=True)

    def run() -> None:
        blocks = (some[rows] for rows in order)
        ranking_metrics(score_blocks(score, pictures, blocks, sentences), image_index)

    @tf.function(reduce_retracing=True)
    def product(regions: tf.Tensor, words: tf.Tensor) -> tf.Tensor:
        flat = tf.reshape(regions, [-1, DIM])
        return tf.matmul(tf.reshape(words, [-1, DIM]), flat, transpose_b=True)[0, 0]

    def floor() -> None:
        for rows in order:
            for regions, _ in pictures:
                product(regions, some[rows][0]).numpy()

    regions = pictures[0][0].numpy()[:PLAIN]
    rows = list(next(iter(some.values()))[0].numpy()[:PLAIN])
    yield Case(
        "ranking with regions",
        size,
        f"{count:,} x {sentences:,}, R = {REGIONS}, {WORDS} words, D = {DIM:,}",
        "scores",
        count * sentences,
        run,
        floor=floor,
        reference=lambda: reference.scores(regions, rows),
        reference_amount=PLAIN**2,
    )
