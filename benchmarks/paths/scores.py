"""Scores of all pairs of a batch, forward and backward."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from benchmarks.case import Case
from benchmarks.paths import products
from benchmarks.paths.sentences import lengths
from benchmarks.reference import alignment as reference
from visem_tf.alignment.scores import alignment_scores

PAIRS = {"small": 50, "middle": 100, "large": 200}
REGIONS, DIM, PLAIN = 20, 1_000, 25


def cases(size: str) -> Iterator[Case]:
    """Yields one case: every image of a batch with every sentence."""
    random, count = np.random.default_rng(0), PAIRS[size]
    length = lengths(random, count)
    regions = random.standard_normal([count, REGIONS, DIM], np.float32)
    words = random.standard_normal([count, length.max(), DIM], np.float32)
    upstream = random.standard_normal([count, count], np.float32)
    word_mask = np.arange(length.max()) < length[:, np.newaxis]
    arrays = [tf.constant(array) for array in (regions, words, word_mask, upstream)]

    @tf.function(autograph=False)
    def step(regions, words, word_mask, upstream):
        with tf.GradientTape() as tape:
            tape.watch([regions, words])
            found = alignment_scores(regions, words, tf.ones([count, REGIONS], tf.bool), word_mask)
        gradients = tape.gradient(found, [regions, words], output_gradients=upstream)
        return [tf.reduce_max(gradient) for gradient in gradients]

    rows = [words[n, : length[n]] for n in range(PLAIN)]

    def plainly() -> None:
        _, best = reference.scores(regions[:PLAIN], rows)
        reference.scores_gradient(regions[:PLAIN], rows, best, upstream[:PLAIN, :PLAIN])

    yield Case(
        "all-pairs scores, forward and backward",
        size,
        f"{count} x {count}, R = {REGIONS}, D = {DIM:,}",
        "scores",
        count**2,
        lambda: [value.numpy() for value in step(*arrays)],
        floor=products.together(
            products.layers([(int(length.sum()), DIM, count * REGIONS)], backward=True)
        ),
        reference=plainly,
        reference_amount=PLAIN**2,
    )
