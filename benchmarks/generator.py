"""Speed of the caption generator, beside the matrix products that it cannot do without.

    python benchmarks/generator.py

Prints words a second in training (batch 100, vocabulary 2,500, about 11 words a sentence, a few
much longer) and sentences a second of greedy and beam search (7 beams, 20 steps, none of which ends
early). "products" is the share of the time that the bare matrix products take, timed in the same
run: forward and backward for training, forward for decoding. "attention" is the LSTM that attends
to 20 regions of a picture.
"""

import argparse
import os
import time
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf

from visem_tf.decoding import beam_search, greedy_search
from visem_tf.models.attention_generator import AttentionGenerator
from visem_tf.models.caption_generator import CaptionGenerator
from visem_tf.text import END_ID, START_ID, UNK_ID

BATCH, VOCABULARY, FEATURES, BEAMS, STEPS = 100, 2_500, 1_280, 7, 20
REGIONS = 20


def seconds(function: Callable[[], object], repeats: int) -> float:
    """The median time of a call, after one that does not count."""
    function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def make_batch(rng: np.random.Generator) -> dict[str, tf.Tensor]:
    """A batch as `CaptionGenerator.fit` takes it."""
    lengths = np.clip(rng.poisson(10.5, BATCH), 3, None)
    lengths[0] = 24
    token_ids = np.zeros([BATCH, 26], np.int32)
    for row, length in zip(token_ids, lengths, strict=True):
        row[: length + 2] = [START_ID, *rng.integers(UNK_ID + 1, VOCABULARY, length), END_ID]
    features = rng.random([BATCH, REGIONS, FEATURES], np.float32)
    return {
        "image_features": tf.constant(features[:, 0]),
        "region_features": tf.constant(features),
        "region_mask": tf.ones([BATCH, REGIONS], tf.bool),
        "token_ids": tf.constant(token_ids),
    }


def products(rows: int, steps: int, hidden: int, passes: int) -> Callable[[], object]:
    """The products of word layer, recurrence, picture and vocabulary, on `rows` real tokens."""

    def matrix(*shape: int) -> tf.Tensor:
        return tf.random.normal(shape)

    layers = [
        (matrix(rows, hidden), matrix(hidden, hidden)),
        (matrix(BATCH, FEATURES), matrix(FEATURES, hidden)),
        (matrix(rows, hidden), matrix(hidden, VOCABULARY)),
    ]
    state, kernel = matrix(rows // steps, hidden), matrix(hidden, hidden) / hidden**0.5

    @tf.function(autograph=False)
    def run() -> list[tf.Tensor]:
        results = []
        for inputs, weights in layers:
            outputs = inputs @ weights
            results.append(outputs)
            if passes == 3:  # gradients of the weights and of the inputs
                results.append(tf.matmul(inputs, outputs, transpose_a=True))
                results.append(tf.matmul(outputs, weights, transpose_b=True))
        carried = state
        for _ in range(steps * passes):
            carried = carried @ kernel
        return [tf.reduce_max(result) for result in [*results, carried]]

    return run


def attention_products(targets: int, counts: list[int], hidden: int) -> Callable[[], object]:
    """The same of the LSTM with attention, forward and backward; `counts` are rows by step."""
    gates, both = 4 * hidden, 5 * hidden + 1  # of W_z, and of U, W_q and w_β together
    normal = tf.random.normal
    layers = [
        (normal([BATCH * REGIONS, FEATURES]), normal([FEATURES, hidden]), False),
        (normal([BATCH * REGIONS, hidden]), normal([hidden, hidden]), True),
        (normal([targets, hidden]), normal([hidden, gates]), True),
        (normal([targets, hidden]), normal([hidden, VOCABULARY]), True),
    ]
    recurrent = normal([hidden, both]) / hidden**0.5
    context = normal([hidden, gates]) / hidden**0.5
    rows, rows_of_gates = normal([targets, hidden]), normal([targets, both])
    state = normal([BATCH, hidden])

    @tf.function(autograph=False)
    def run() -> list[tf.Tensor]:
        results = [
            tf.matmul(rows, rows_of_gates, transpose_a=True),  # gradients of the two kernels
            tf.matmul(rows, rows_of_gates[:, :gates], transpose_a=True),
        ]
        for inputs, weights, inputs_learn in layers:
            outputs = inputs @ weights
            results += [outputs, tf.matmul(inputs, outputs, transpose_a=True)]
            if inputs_learn:
                results.append(tf.matmul(outputs, weights, transpose_b=True))
        carried = state
        for count in counts:
            first = carried[:count] @ recurrent
            second = first[:, :hidden] @ context
            back = tf.matmul(first, recurrent, transpose_b=True)
            carried = back + tf.matmul(second, context, transpose_b=True)
        return [tf.reduce_max(result) for result in [*results, carried]]

    return run


def train(hidden: int, repeats: int) -> None:
    """Prints the lines of training at a hidden size."""
    batch = make_batch(np.random.default_rng(0))
    lengths = np.count_nonzero(batch["token_ids"], axis=1) - 1
    targets, steps = int(lengths.sum()), int(lengths.max())
    counts = [int(np.sum(lengths > step)) for step in range(steps)]
    kinds = {
        "training": (
            CaptionGenerator(VOCABULARY, hidden, hidden),
            products(targets, steps, hidden, passes=3),
        ),
        "attention": (
            AttentionGenerator(VOCABULARY, hidden, hidden, cell="lstm", doubly_stochastic=1.0),
            attention_products(targets, counts, hidden),
        ),
    }
    for name, (generator, bare) in kinds.items():
        generator.compile(optimizer=keras.optimizers.RMSprop(1e-3))
        step = tf.function(generator.train_step)
        elapsed = seconds(lambda step=step: step(batch)["loss"].numpy(), repeats)
        bare_elapsed = seconds(lambda bare=bare: bare()[0].numpy(), repeats)
        print(
            f"{name:9} hidden {hidden}: {(targets - BATCH) / elapsed:8,.0f} words/s, "
            f"products {bare_elapsed / elapsed:4.0%}"
        )


def decode(hidden: int, repeats: int) -> None:
    """Prints the lines of greedy and beam search at a hidden size."""
    batch = make_batch(np.random.default_rng(0))
    plain = CaptionGenerator(VOCABULARY, hidden, hidden)
    attending = AttentionGenerator(VOCABULARY, hidden, hidden, cell="lstm")
    for generator in (plain, attending):
        generator(batch)
        bias = generator.output_projection.bias
        bias.assign(np.where(np.arange(VOCABULARY) == END_ID, -50.0, 0.0))  # nobody ends early
    regions = {name: batch[name] for name in ("region_features", "region_mask")}
    frames = batch["image_features"]
    searches = {
        "greedy": (1, frames, lambda x: greedy_search(plain, x, STEPS)),
        f"beam {BEAMS}": (BEAMS, frames, lambda x: beam_search(plain, x, BEAMS, STEPS)),
        f"attention, beam {BEAMS}": (
            BEAMS,
            regions,
            lambda x: beam_search(attending, x, BEAMS, STEPS),
        ),
    }
    for name, (beams, pictures, search) in searches.items():
        run = tf.function(search, autograph=False)
        elapsed = seconds(lambda run=run, pictures=pictures: run(pictures)[1].numpy(), repeats)
        if pictures is regions:
            print(f"{name:9} hidden {hidden}: {BATCH / elapsed:8,.0f} captions/s")
            continue
        bare = products(BATCH * beams * STEPS, STEPS, hidden, passes=1)
        bare_elapsed = seconds(lambda bare=bare: bare()[0].numpy(), repeats)
        print(
            f"{name:9} hidden {hidden}: {BATCH / elapsed:8,.0f} captions/s, "
            f"products {bare_elapsed / elapsed:4.0%}"
        )


def main() -> None:
    """Runs all."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=10, help="timed calls (default: 10)")
    arguments = parser.parse_args()
    for hidden in (256, 512):
        train(hidden, arguments.repeats)
        decode(hidden, arguments.repeats)


if __name__ == "__main__":
    main()
