"""A complete training step of the alignment model with the settings of the paper."""

from __future__ import annotations

from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf

from benchmarks.case import Case
from benchmarks.paths import products
from benchmarks.paths.brnn import DIM, WORD_DIM, encoder_products, encoder_weights
from benchmarks.paths.sentences import VOCABULARY, features, padded, token_rows
from benchmarks.reference import alignment as reference
from visem_tf.models.alignment_model import AlignmentModel
from visem_tf.models.region_encoder import RegionEncoder
from visem_tf.models.sentence_encoder import SentenceEncoder

PAIRS = {"small": 50, "middle": 100, "large": 200}
REGIONS, FEATURES, PLAIN = 20, 1_280, 20


def cases(size: str) -> Iterator[Case]:
    """Yields the step in float32 and in mixed_bfloat16."""
    random, count = np.random.default_rng(0), PAIRS[size]
    rows = token_rows(random, count)
    vectors = features(random, count, REGIONS, FEATURES)
    batch = {
        "region_features": tf.constant(vectors),
        "region_mask": tf.ones([count, REGIONS], tf.bool),
        "token_ids": tf.constant(padded(rows)),
        "image_ids": tf.range(count),
    }
    words = sum(map(len, rows))
    floor = products.together(
        products.layers([(count * REGIONS, FEATURES, DIM)], backward=False),
        products.layers([(FEATURES, count * REGIONS, DIM)], backward=False),
        products.layers([(words, DIM, count * REGIONS)], backward=True),
        *encoder_products(rows),
    )
    for policy in ("float32", "mixed_bfloat16"):
        encoder = SentenceEncoder(VOCABULARY, DIM, DIM, WORD_DIM, 0.2, 0.2, dtype=policy)
        region_encoder = RegionEncoder(DIM, dropout=0.2, dtype=policy)
        model = AlignmentModel(region_encoder, encoder, dtype=policy)
        model.compile(optimizer=keras.optimizers.SGD(1e-5, momentum=0.9))
        model(batch)
        model.optimizer.build(model.trainable_variables)
        step = tf.function(model.train_step, autograph=False)
        weights = {
            **encoder_weights(encoder),
            "W_m": np.array(region_encoder.projection.kernel),
            "b_m": np.array(region_encoder.projection.bias),
        }
        speeds = {name: np.zeros_like(value) for name, value in weights.items()}

        def plainly(weights=weights, speeds=speeds) -> None:
            _, gradient = reference.alignment_gradient(weights, vectors[:PLAIN], rows[:PLAIN])
            for name, value in gradient.items():
                speeds[name] = 0.9 * speeds[name] - 1e-5 / PLAIN * np.clip(value, -5, 5)
                weights[name] += speeds[name]

        yield Case(
            f"alignment step, {policy}",
            size,
            f"B = {count}, R = {REGIONS}, F = {FEATURES:,}, D = {DIM:,}",
            "pairs",
            count,
            lambda step=step: step(batch)["loss"].numpy(),
            floor=floor,
            reference=plainly if policy == "float32" else None,
            reference_amount=PLAIN,
        )
