"""Measures training options: alternates training steps without and with each option.

    python -m benchmarks.options [--rounds 5] [--json FILE]

Measures XLA and batches of similar length (`--generate.bucket_batches`). Prints one line per
option: the time without it, with it, the first time with it, which includes compilation by XLA
(for every length of the longest text in a batch), and the speed-up. visem_tf does not offer XLA as
an option because of these results.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf

from benchmarks.__main__ import machine
from benchmarks.case import Case, Work
from benchmarks.measuring import measure, seconds
from benchmarks.paths.sentences import VOCABULARY, features, padded, token_rows
from visem_tf.models.alignment_model import AlignmentModel
from visem_tf.models.caption_generator import CaptionGenerator
from visem_tf.models.region_encoder import RegionEncoder
from visem_tf.models.sentence_encoder import SentenceEncoder
from visem_tf.runtime.files import write_atomically
from visem_tf.training.pipeline import epoch_batches

BATCH, REGIONS, FEATURES, DIM = 100, 20, 1_280, 1_000
BATCHES = 20

Batch = dict[str, tf.Tensor]


def main() -> None:
    """Measures every option and prints its line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.options")
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds (default: 5)")
    parser.add_argument("--json", type=Path, help="file for the figures")
    options = parser.parse_args()
    found = []
    print(f"{'':58}{'without':>12}{'with':>12}{'first':>12}{'faster':>10}", flush=True)
    for name, without, with_it in _pairs():
        case = Case(name, "", "", "steps", 1, with_it, reference=without, reference_amount=1)
        try:
            first = seconds(with_it)
            figures = measure(case, options.rounds)
        except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError) as error:
            print(f"{name:58}cannot be compiled: {str(error).strip().splitlines()[0]}", flush=True)
            continue
        found.append(
            {
                "option": name,
                "seconds_without": 1 / figures["reference_per_second"],
                "seconds_with": figures["seconds"],
                "seconds_first": first,
                "times_faster": figures["times_reference"],
            }
        )
        *times, faster = list(found[-1].values())[1:]
        cells = "".join(f"{1000 * time:>9,.0f} ms" for time in times)
        print(f"{name:58}{cells}{faster:>8.2f} x", flush=True)
    if options.json:
        text = json.dumps({"machine": machine(), "results": found}, indent=1)
        write_atomically(options.json, text + "\n")


def _pairs() -> Iterator[tuple[str, Work, Work]]:
    """Yields names, and the same work without and with the option."""
    random = np.random.default_rng(0)
    rows = token_rows(random, BATCHES * BATCH)
    mixed, bucketed = (drawn(rows, batches) for batches in (0, BATCHES))
    regions = tf.constant(features(random, BATCH, REGIONS, FEATURES))
    frames = tf.constant(features(random, BATCH, FEATURES))

    def to_write(token_rows: list[np.ndarray]) -> Batch:
        token_ids = tf.constant(padded(token_rows, ends=True))
        return {"image_features": frames, "token_ids": token_ids}

    encoder = SentenceEncoder(VOCABULARY, DIM, DIM, 300, 0.2, 0.2)
    aligner = AlignmentModel(RegionEncoder(DIM, dropout=0.2), encoder)
    aligner.compile(optimizer=keras.optimizers.SGD(1e-6, momentum=0.9))
    generators = {cell: _generator(cell) for cell in ("rnn", "lstm")}

    one = [
        {
            "region_features": regions,
            "region_mask": tf.ones([BATCH, REGIONS], tf.bool),
            "token_ids": tf.constant(padded(mixed[0])),
            "image_ids": tf.range(BATCH),
        }
    ]
    yield "XLA, alignment step", _steps(aligner, one), _steps(aligner, one, jit=True)
    one = [to_write(mixed[0])]
    for cell, model in generators.items():
        yield f"XLA, generator step, {cell} 512", _steps(model, one), _steps(model, one, jit=True)
    for cell, model in generators.items():
        without, with_it = ([to_write(batch) for batch in batches] for batches in (mixed, bucketed))
        name = f"{cell} 512, generate.bucket_batches {BATCHES}, {BATCHES} steps"
        yield name, _steps(model, without), _steps(model, with_it)


def _generator(cell: str) -> CaptionGenerator:
    model = CaptionGenerator(VOCABULARY, cell=cell)
    model.compile(optimizer=keras.optimizers.RMSprop(1e-6))
    return model


def drawn(rows: list[np.ndarray], bucket_batches: int) -> list[list[np.ndarray]]:
    """Returns the rows in the batches of an epoch, see `epoch_batches`."""
    epoch = epoch_batches(
        len(rows),
        BATCH,
        seed=0,
        epochs=1,
        lengths=np.array([len(row) for row in rows]),
        bucket_batches=bucket_batches,
    )
    return [[rows[position] for position in positions] for positions in epoch.as_numpy_iterator()]


def _steps(model: keras.Model, batches: list[Batch], *, jit: bool = False) -> Callable[[], object]:
    """Trains on the batches, one after the other."""
    if not model.built:
        model.build({name: (None, *value.shape[1:]) for name, value in batches[0].items()})
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    step = tf.function(
        model.train_step, autograph=False, reduce_retracing=not jit, jit_compile=jit or None
    )
    return lambda: [step(batch)["loss"].numpy() for batch in batches]


if __name__ == "__main__":
    main()
