"""Captions from features by greedy search and with seven beams."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import tensorflow as tf

from benchmarks.case import Case
from benchmarks.paths import products
from benchmarks.paths.generator import FEATURES, generator_weights
from benchmarks.paths.sentences import VOCABULARY, features
from benchmarks.reference import generator as reference
from visem_tf.decoding import beam_search, greedy_search
from visem_tf.models.caption_generator import CaptionGenerator
from visem_tf.text import END_ID

PICTURES = {"small": 25, "middle": 100, "large": 400}
BEAMS, STEPS, PLAIN = 7, 20, 2


def cases(size: str) -> Iterator[Case]:
    """Yields both searches at 256 and 512 units; every sentence has 20 words."""
    vectors = features(np.random.default_rng(0), PICTURES[size], FEATURES)
    pictures = tf.constant(vectors)
    for hidden in (256, 512):
        generator = CaptionGenerator(VOCABULARY, hidden, hidden)
        generator.initial_state(pictures)
        bias = np.where(np.arange(VOCABULARY) == END_ID, -50.0, 0.0)
        generator.output_projection.bias.assign(bias)
        weights = generator_weights(generator)
        for beams in (1, BEAMS):

            @tf.function(autograph=False)
            def search(pictures: tf.Tensor, generator=generator, beams=beams) -> tf.Tensor:
                if beams == 1:
                    return greedy_search(generator, pictures, STEPS)[0]
                return beam_search(generator, pictures, beams, STEPS)[0]

            def plainly(weights=weights, beams=beams) -> None:
                for picture in vectors[:PLAIN]:
                    reference.beam_search(weights, picture, beams, STEPS)

            rows = PICTURES[size] * beams
            yield Case(
                f"{'greedy' if beams == 1 else f'beam {beams}'}, rnn {hidden}",
                size,
                f"{PICTURES[size]} pictures, {STEPS} words each, V = {VOCABULARY:,}",
                "captions",
                PICTURES[size],
                lambda search=search: search(pictures).numpy(),
                floor=products.together(
                    products.recurrence([rows] * STEPS, hidden, hidden, backward=False),
                    products.recurrence([rows] * STEPS, hidden, hidden, backward=False),
                    products.recurrence([rows] * STEPS, hidden, VOCABULARY, backward=False),
                ),
                reference=plainly,
                reference_amount=PLAIN,
            )
