"""The MRF over the sentences of a training set, given the similarities of words and regions."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from benchmarks.case import Case
from benchmarks.paths.sentences import lengths
from benchmarks.reference import alignment as reference
from visem_tf.alignment.mrf import smooth_alignment

SENTENCES = {"small": 1_000, "middle": 5_000, "large": 30_000}
REGIONS, DIM, AT_A_TIME, PLAIN = 20, 1_000, 500, 50


def cases(size: str) -> Iterator[Case]:
    """Yields one case. The MRF has no matrix products; its floor is computing the similarities."""
    random, count = np.random.default_rng(0), SENTENCES[size]
    length = lengths(random, count)
    similarities = random.standard_normal([count, length.max(), REGIONS], np.float32)
    word_mask = np.arange(length.max()) < length[:, np.newaxis]
    arrays = tf.constant(similarities), tf.constant(word_mask)
    smooth = tf.function(smooth_alignment, autograph=False)
    words = tf.random.normal([AT_A_TIME, int(length.max()), DIM])
    regions = tf.random.normal([AT_A_TIME, REGIONS, DIM])

    @tf.function(autograph=False)
    def product(words: tf.Tensor, regions: tf.Tensor) -> tf.Tensor:
        return tf.matmul(words, regions, transpose_b=True)[0, 0, 0]

    yield Case(
        "MRF",
        size,
        f"{count:,} sentences, R = {REGIONS}; floor: their similarities, D = {DIM:,}",
        "sentences",
        count,
        lambda: smooth(*arrays, beta=0.5).numpy(),
        floor=lambda: product(words, regions).numpy(),
        floor_share=AT_A_TIME / count,
        reference=lambda: [
            reference.smooth(similarities[row, : length[row]], 0.5) for row in range(PLAIN)
        ],
        reference_amount=PLAIN,
    )
