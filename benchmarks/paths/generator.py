"""A training step of the caption generator at neuraltalk's sizes and larger batches."""

from __future__ import annotations

from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf

from benchmarks.case import Case
from benchmarks.paths import products
from benchmarks.paths.sentences import VOCABULARY, features, padded, token_rows
from benchmarks.reference import generator as reference
from visem_tf.models.caption_generator import CaptionGenerator
from visem_tf.text import END_ID, START_ID

SENTENCES = {"small": 50, "middle": 100, "large": 200}
FEATURES, PLAIN, RATE = 1_280, 50, 1e-6


def cases(size: str) -> Iterator[Case]:
    """Yields RNN and LSTM of 256 and 512 units, in float32 and in mixed_bfloat16."""
    random, count = np.random.default_rng(0), SENTENCES[size]
    rows = token_rows(random, count)
    vectors = features(random, count, FEATURES)
    batch = {
        "image_features": tf.constant(vectors),
        "token_ids": tf.constant(padded(rows, ends=True)),
    }
    lengths = np.array([len(row) + 1 for row in rows])
    targets, words = int(lengths.sum()), sum(map(len, rows))
    later = [int((lengths > t).sum()) for t in range(1, lengths.max())]
    sentences = [np.concatenate([[START_ID], row, [END_ID]]) for row in rows[:PLAIN]]
    for cell, gates in (("rnn", 1), ("lstm", 4)):
        for hidden in (256, 512):
            width = gates * hidden
            floor = products.together(
                products.layers(
                    [(targets, hidden, width), (targets, hidden, VOCABULARY)], backward=True
                ),
                products.layers([(count, FEATURES, width)], backward=False),
                products.layers([(FEATURES, count, width)], backward=False),
                products.recurrence(later, hidden, width, backward=True),
            )
            for policy in ("float32", "mixed_bfloat16"):
                model = CaptionGenerator(VOCABULARY, hidden, hidden, cell=cell, dtype=policy)
                model.compile(optimizer=keras.optimizers.RMSprop(RATE))
                model(batch)
                model.optimizer.build(model.trainable_variables)
                step = tf.function(model.train_step, autograph=False)
                weights = generator_weights(model)
                squares = {name: np.zeros_like(value) for name, value in weights.items()}

                def plainly(weights=weights, squares=squares) -> None:
                    reference.rmsprop_step(weights, squares, vectors[:PLAIN], sentences, RATE)

                yield Case(
                    f"generator step, {cell} {hidden}, {policy}",
                    size,
                    f"B = {count}, V = {VOCABULARY:,}",
                    "words",
                    words,
                    lambda step=step: step(batch)["loss"].numpy(),
                    floor=floor,
                    reference=plainly if policy == "float32" else None,
                    reference_amount=sum(map(len, rows[:PLAIN])),
                )


def generator_weights(model: CaptionGenerator) -> dict[str, np.ndarray]:
    """Returns the weights of a generator by the paper's names."""
    return {
        name: np.array(value)
        for name, value in {
            "words": model.word_vectors.embeddings,
            "W_hx": model.word_projection.kernel,
            "W_hi": model.image_projection.kernel,
            "W_hh": model.recurrence.kernel,
            "b_h": model.recurrence.bias,
            "W_oh": model.output_projection.kernel,
            "b_o": model.output_projection.bias,
        }.items()
    }
