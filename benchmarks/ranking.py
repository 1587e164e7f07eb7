"""Ranks random vectors: time, memory, and the ratio to the matrix products alone.

    python benchmarks/ranking.py [--images 5000] [--sentences 25000]

Images have 20 regions, sentences 11 words, the space 1,000 dimensions. Every tenth block of
sentences is also multiplied on its own, alternating with the scoring; the ratio is that of these
blocks. Sentences are generated block by block, as the encoder would produce them.
"""

import argparse
import os
import resource
import time
from collections.abc import Iterator

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

from visem_tf.alignment.scores import alignment_scores
from visem_tf.metrics.ranking import fold_metrics, ranking_metrics
from visem_tf.runs.scoring import Block, score_blocks

IMAGES_AT_A_TIME, SENTENCES_AT_A_TIME = 100, 500


def peak_mib() -> float:
    """Returns the peak memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Scores, ranks and prints the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--sentences", type=int, default=25_000)
    parser.add_argument("--regions", type=int, default=20)
    parser.add_argument("--words", type=int, default=11)
    parser.add_argument("--dim", type=int, default=1000)
    options = parser.parse_args()
    random = np.random.default_rng(0)

    def vectors(*shape: int) -> tf.Tensor:
        return tf.constant(random.standard_normal(shape, np.float32))

    @tf.function
    def products(regions: tf.Tensor, words: tf.Tensor) -> tf.Tensor:
        flat = tf.reshape(regions, [-1, options.dim])
        return tf.matmul(tf.reshape(words, [-1, options.dim]), flat, transpose_b=True)[0, 0]

    score = tf.function(alignment_scores, reduce_retracing=True)
    small = vectors(IMAGES_AT_A_TIME, options.regions, options.dim)
    words = vectors(SENTENCES_AT_A_TIME, options.words, options.dim)
    score(small, words, tf.ones(small.shape[:2], tf.bool), tf.ones(words.shape[:2], tf.bool))
    products(small, words)
    before = peak_mib()
    images: list[Block] = []
    for start in range(0, options.images, IMAGES_AT_A_TIME):
        count = min(IMAGES_AT_A_TIME, options.images - start)
        block = vectors(count, options.regions, options.dim)
        images.append((block, tf.ones(block.shape[:2], tf.bool)))
    with_images = peak_mib()
    times = {"making": 0.0, "products": 0.0, "scoring beside them": 0.0}
    begun: list[float] = []

    def sentences() -> Iterator[Block]:
        for number, start in enumerate(range(0, options.sentences, SENTENCES_AT_A_TIME)):
            made = time.perf_counter()
            if begun and (number - 1) % 10 == 0:
                times["scoring beside them"] += made - begun.pop()
            begun.clear()
            count = min(SENTENCES_AT_A_TIME, options.sentences - start)
            block = vectors(count, options.words, options.dim)
            if number % 10 == 0:
                began = time.perf_counter()
                for regions, _ in images:
                    products(regions, block).numpy()
                times["products"] += time.perf_counter() - began
            times["making"] += time.perf_counter() - made
            begun.append(time.perf_counter())
            yield block, tf.ones(block.shape[:2], tf.bool)
        if begun and number % 10 == 0:
            times["scoring beside them"] += time.perf_counter() - begun.pop()

    began = time.perf_counter()
    scores = score_blocks(score, images, sentences(), options.sentences)
    scoring = time.perf_counter() - began - times["making"]
    image_index = np.arange(options.sentences) * options.images // options.sentences
    began = time.perf_counter()
    figures = ranking_metrics(scores, image_index)
    folds = fold_metrics(scores, image_index, 1000)
    ranking = time.perf_counter() - began
    peak = peak_mib()
    print(f"{options.images} images, {options.sentences} sentences, D = {options.dim}")
    print(
        f"scoring {scoring:.1f} s, ranking {ranking:.1f} s (with {folds and folds['folds']} folds)"
    )
    print(
        f"peak memory {peak:.0f} MiB: {before:.0f} before, {with_images - before:.0f} regions, ",
        end="",
    )
    print(
        f"{scores.nbytes / 2**20:.0f} scores, {peak - with_images - scores.nbytes / 2**20:.0f} else"
    )
    ratio = times["scoring beside them"] / times["products"]
    print(f"ratio to the matrix products alone {ratio:.2f}")
    print(f"image search R@10 of random vectors {figures['image_search']['r10']:.2f} %")


if __name__ == "__main__":
    main()
