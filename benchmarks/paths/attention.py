"""A training step of the generator with attention, at the sizes of the preset `best`."""

from __future__ import annotations

from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf

from benchmarks.case import Case
from benchmarks.paths import products
from benchmarks.paths.sentences import VOCABULARY, features, padded
from visem_tf.models.attention_generator import AttentionGenerator
from visem_tf.text import UNK_ID

SENTENCES = {"small": 50, "middle": 100, "large": 200}
FEATURES, REGIONS, WORDS, RATE = 1_280, 20, 10, 1e-6


def cases(size: str) -> Iterator[Case]:
    """Yields LSTMs of 256 and 512 units, in float32 and in mixed_bfloat16.

    All sentences have the same length, which bucketing approximates.
    """
    random, count = np.random.default_rng(0), SENTENCES[size]
    rows = list(random.integers(UNK_ID + 1, VOCABULARY, [count, WORDS], np.int32))
    batch = {
        "region_features": tf.constant(features(random, count, REGIONS, FEATURES)),
        "region_mask": tf.ones([count, REGIONS], tf.bool),
        "token_ids": tf.constant(padded(rows, ends=True)),
    }
    steps = WORDS + 1
    targets, regions = steps * count, REGIONS * count
    for hidden in (256, 512):
        width = 4 * hidden
        floor = products.together(
            products.layers([(regions, FEATURES, hidden)], backward=False),
            products.layers([(FEATURES, regions, hidden)], backward=False),
            products.layers(
                [
                    (regions, hidden, hidden),  # keys
                    (count, hidden, hidden),  # h_0
                    (count, hidden, hidden),  # c_0
                    (targets, hidden, width),  # words
                    (targets, hidden, width),  # contexts
                    (targets, hidden, VOCABULARY),
                ],
                backward=True,
            ),
            products.recurrence([count] * steps, hidden, width + hidden + 1, backward=True),
        )
        for policy in ("float32", "mixed_bfloat16"):
            model = AttentionGenerator(
                VOCABULARY, hidden, hidden, doubly_stochastic=1.0, cell="lstm", dtype=policy
            )
            model.compile(optimizer=keras.optimizers.Adam(RATE))
            model(batch)
            model.optimizer.build(model.trainable_variables)
            step = tf.function(model.train_step, autograph=False)
            yield Case(
                f"attention generator step, lstm {hidden}, {policy}",
                size,
                f"B = {count}, R = {REGIONS}, F = {FEATURES:,}, V = {VOCABULARY:,}",
                "words",
                count * WORDS,
                lambda step=step: step(batch)["loss"].numpy(),
                floor=floor,
            )
