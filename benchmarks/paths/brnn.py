"""The sentence encoder, forward and backward, with 1,000 units as in the paper."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from benchmarks.case import Case
from benchmarks.paths import products
from benchmarks.paths.sentences import VOCABULARY, padded, token_rows
from benchmarks.reference import alignment as reference
from visem_tf.models.sentence_encoder import SentenceEncoder

SENTENCES = {"small": 50, "middle": 100, "large": 200}
DIM, WORD_DIM = 1_000, 300


def cases(size: str) -> Iterator[Case]:
    """Yields one case."""
    random = np.random.default_rng(0)
    rows = token_rows(random, SENTENCES[size])
    token_ids = tf.constant(padded(rows))
    encoder = SentenceEncoder(VOCABULARY, DIM, DIM, WORD_DIM)
    upstream = random.standard_normal([*token_ids.shape, DIM], np.float32)
    encoder(token_ids)

    @tf.function(autograph=False)
    def step(token_ids: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            embedded = encoder(token_ids, training=True)
        gradients = tape.gradient(
            embedded, [v.value for v in encoder.trainable_variables], output_gradients=upstream
        )
        return [tf.reduce_max(tf.convert_to_tensor(gradient)) for gradient in gradients]

    weights = encoder_weights(encoder)
    some = rows[:20]

    def plainly() -> None:
        sums = {name: np.zeros_like(value) for name, value in weights.items()}
        for number, row in enumerate(some):
            _, kept = reference.embed_sentence(weights, row)
            reference.sentence_gradient(weights, kept, upstream[number, : len(row)], sums)

    words = sum(map(len, rows))
    yield Case(
        "BRNN, forward and backward",
        size,
        f"{len(rows)} sentences, H = D = {DIM:,}",
        "words",
        words,
        lambda: [value.numpy() for value in step(token_ids)],
        floor=products.together(*encoder_products(rows)),
        reference=plainly,
        reference_amount=sum(map(len, some)),
    )


def encoder_products(rows: list[np.ndarray]) -> list:
    """Returns the matrix products of the encoder on real words only."""
    lengths = np.array([len(row) for row in rows])
    words = int(lengths.sum())
    later = [int((lengths > t).sum()) for t in range(1, lengths.max())]
    affine = products.layers([(words, WORD_DIM, DIM), (words, DIM, DIM)], backward=True)
    directions = [products.recurrence(later, DIM, DIM, backward=True) for _ in range(2)]
    return [affine, *directions]


def encoder_weights(encoder: SentenceEncoder) -> dict[str, np.ndarray]:
    """Returns the weights of an encoder by the paper's names."""
    return {
        name: np.array(value)
        for name, value in {
            "words": encoder.word_vectors.embeddings,
            "W_e": encoder.word_projection.kernel,
            "b_e": encoder.word_projection.bias,
            "W_f": encoder.forward_kernel,
            "b_f": encoder.forward_bias,
            "W_b": encoder.backward_kernel,
            "b_b": encoder.backward_bias,
            "W_d": encoder.output_projection.kernel,
            "b_d": encoder.output_projection.bias,
        }.items()
    }
