"""Finds the largest training batch that fits into a given amount of memory.

    python -m benchmarks.largest_batch [--gib 4]

Every batch size runs in a process of its own, which takes two steps of the alignment or generator
of the preset `paper` on random data and prints its peak memory. The size is doubled until it
exceeds the limit.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

MODELS = ("alignment", "generator")


def main() -> None:
    """Tries all batch sizes, or runs the steps of one try."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.largest_batch")
    parser.add_argument("--gib", type=float, default=4.0, help="memory limit in GiB (default: 4)")
    parser.add_argument("--model", choices=MODELS, help=argparse.SUPPRESS)
    parser.add_argument("--batch", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.model:
        print(_peak_gib(options.model, options.batch))
        return
    for model in MODELS:
        size, fits = 100, 0
        while True:
            command = [sys.executable, "-m", "benchmarks.largest_batch"]
            command += ["--model", model, "--batch", str(size)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            peak = float(done.stdout)
            print(f"{model}, batch {size:,}: {peak:.2f} GiB", flush=True)
            if peak > options.gib:
                break
            size, fits = 2 * size, size
        print(f"{model}: {fits:,} fit into {options.gib:g} GiB, {size:,} do not", flush=True)


def _peak_gib(model: str, count: int) -> float:
    import keras
    import numpy as np
    import tensorflow as tf

    from benchmarks.paths.sentences import VOCABULARY, features, padded, token_rows
    from visem_tf.models.alignment_model import AlignmentModel
    from visem_tf.models.caption_generator import CaptionGenerator
    from visem_tf.models.region_encoder import RegionEncoder
    from visem_tf.models.sentence_encoder import SentenceEncoder

    random = np.random.default_rng(0)
    rows = token_rows(random, count)
    if model == "alignment":
        batch = {
            "region_features": features(random, count, 20, 1_280),
            "region_mask": np.ones([count, 20], bool),
            "token_ids": padded(rows),
            "image_ids": np.arange(count),
        }
        encoder = SentenceEncoder(VOCABULARY, 1_000, 1_000, 300, 0.2, 0.2)
        trained: keras.Model = AlignmentModel(RegionEncoder(1_000, dropout=0.2), encoder)
        trained.compile(optimizer=keras.optimizers.SGD(1e-6, momentum=0.9))
    else:
        batch = {
            "image_features": features(random, count, 1_280),
            "token_ids": padded(rows, ends=True),
        }
        trained = CaptionGenerator(VOCABULARY, dropout=0.5, image_dropout=0.5)
        trained.compile(optimizer=keras.optimizers.RMSprop(1e-6))
    tensors = {name: tf.constant(value) for name, value in batch.items()}
    del batch
    trained.build({name: tuple(value.shape) for name, value in tensors.items()})
    trained.optimizer.build(trained.trainable_variables)
    step = tf.function(trained.train_step, autograph=False)
    for _ in range(2):
        step(tensors)["loss"].numpy()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    main()
