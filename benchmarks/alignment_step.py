"""The time of one training step of the alignment model beside that of its bare matrix products.

    python benchmarks/alignment_step.py [--steps 20] [--dropout 0.5] [--profile DIR]

Prints the median of both, measured in turns in the same process, and their ratio. The batch is that
of the paper: 100 pairs of 20 regions and about 11 words, with embeddings of 1,000 dimensions.
"""

import argparse
import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf

import visem_tf


def matrix_products(batch: dict[str, tf.Tensor], dim: int, word_dim: int) -> tf.Tensor:
    """Only the products that a step cannot do without, forward and backward, on real words."""
    lengths = np.count_nonzero(batch["token_ids"], axis=1)
    words, regions = int(lengths.sum()), int(np.prod(batch["region_features"].shape[:2]))
    region_dim = batch["region_features"].shape[2]
    random = tf.random.stateless_normal
    features = tf.reshape(batch["region_features"], [-1, region_dim])
    region_kernel, kernel = random([region_dim, dim], (0, 1)), random([dim, dim], (0, 2))
    word_kernel, word_vectors = random([word_dim, dim], (0, 3)), random([words, word_dim], (0, 4))
    region_rows, word_rows = random([regions, dim], (0, 5)), random([words, dim], (0, 6))
    similarities = random([words, regions], (0, 7))
    transposed = tf.transpose(kernel)
    steps = [word_rows[: np.count_nonzero(lengths > t)] for t in range(1, lengths.max())]

    @tf.function
    def run():
        products = [
            tf.matmul(features, region_kernel),
            tf.matmul(features, region_rows, transpose_a=True),
            tf.matmul(word_rows, region_rows, transpose_b=True),
            tf.matmul(similarities, region_rows),
            tf.matmul(similarities, word_rows, transpose_a=True),
            tf.matmul(word_vectors, word_kernel),
            tf.matmul(word_vectors, word_rows, transpose_a=True),
            tf.matmul(word_rows, word_kernel, transpose_b=True),
            tf.matmul(word_rows, kernel),
            tf.matmul(word_rows, kernel, transpose_b=True),
            tf.matmul(word_rows, word_rows, transpose_a=True),
        ]
        for _ in ("forward", "backward"):
            products += [tf.matmul(word_rows, word_rows, transpose_a=True)]
            for rows in steps:  # one after the other, as the recurrence must
                with tf.control_dependencies([products[-1]]):
                    products.append(tf.matmul(rows, kernel))
                with tf.control_dependencies([products[-1]]):
                    products.append(tf.matmul(rows, transposed))
        return tf.add_n([product[0, 0] for product in products])

    return run


def median_ms(*functions, steps: int) -> list[float]:
    """The median time of every function, measured in turns."""
    times = []
    for _ in range(steps + 2):  # the first two warm up
        times.append([])
        for function in functions:
            start = time.perf_counter()
            function()
            times[-1].append(1000 * (time.perf_counter() - start))
    return np.median(times[2:], axis=0).tolist()


def main() -> None:
    """Builds the model and a batch, and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=100)
    parser.add_argument("--dim", type=int, default=1000, help="D and H")
    parser.add_argument("--dropout", type=float, default=0.5)
    parser.add_argument("--policy", default="float32", help="a Keras dtype policy")
    parser.add_argument("--profile", help="folder for a TensorBoard profile")
    options = parser.parse_args()

    keras.utils.set_random_seed(0)
    keras.config.set_dtype_policy(options.policy)
    random = np.random.default_rng(0)
    size, vocabulary_size, word_dim = options.batch_size, 2538, 300
    lengths = np.clip(random.normal(11, 3.9, size).round(), 3, 25).astype(int)
    token_ids = random.integers(4, vocabulary_size, (size, 25), np.int32)
    token_ids[np.arange(25) >= lengths[:, np.newaxis]] = 0
    features = random.normal(size=(size, 20, 1280)).astype(np.float32)
    features *= 10 / np.linalg.norm(features, axis=2, keepdims=True)
    batch = {
        "region_features": tf.constant(features),
        "region_mask": tf.ones([size, 20], tf.bool),
        "token_ids": tf.constant(token_ids[:, : lengths.max()]),
        "image_ids": tf.range(size),
    }

    model = visem_tf.AlignmentModel(
        visem_tf.RegionEncoder(options.dim, dropout=options.dropout),
        visem_tf.SentenceEncoder(
            vocabulary_size, options.dim, options.dim, word_dim, options.dropout, options.dropout
        ),
    )
    model.compile(optimizer=keras.optimizers.SGD(1e-3, momentum=0.9))
    model(batch)
    model.optimizer.build(model.trainable_variables)
    step = tf.function(model.train_step)
    logs = step(batch)
    print(f"words {lengths.sum()}, longest sentence {lengths.max()}")
    print(f"first loss a pair {float(logs['loss']):.1f}, spread {float(logs['score_spread']):.2f}")
    products = matrix_products(batch, options.dim, word_dim)
    step_ms, products_ms = median_ms(lambda: step(batch), lambda: products(), steps=options.steps)
    print(f"step {step_ms:.0f} ms, its matrix products {products_ms:.0f} ms")
    print(f"ratio {step_ms / products_ms:.2f}, {1000 * size / step_ms:.0f} pairs a second")
    if options.profile:
        with tf.profiler.experimental.Profile(options.profile):
            for _ in range(5):
                step(batch)


if __name__ == "__main__":
    main()
