"""Searches an index of synthetic images as it grows: time, size, and recall of the exact ten best.

    python benchmarks/search_index.py --run-dir R --features CACHE/features/flickr8k-train-…

The vectors have the statistics of real ones, those of a cache of features that the run embeds: the
mean of an image's regions and its whole frame are drawn together from a normal distribution with
their mean and covariance, and what the other regions differ from that mean is drawn from the real
differences. Queries are training sentences of the run. The exact scores are computed in 32 bits
while the images are drawn.
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from visem_tf.regions.index_shards import EmbeddedRegions
from visem_tf.regions.search_index import SHARD_SIZE, create_index, open_index
from visem_tf.regions.shards import as_regions, open_records
from visem_tf.runs.query import Query
from visem_tf.runs.ranking import CANDIDATES, rank_index
from visem_tf.runs.trained_run import TrainedRun
from visem_tf.runtime.files import write_atomically

TOP, RANK = 10, 256


class Images:
    """Draws synthetic images.

    Args:
        embeddings: Region embeddings of real images without padding, float [B, R, D].
    """

    def __init__(self, embeddings: np.ndarray) -> None:
        self.random = np.random.default_rng(0)
        frames, others = embeddings[:, 0], embeddings[:, 1:]
        means = others.mean(axis=1)
        self.differences = (others - means[:, np.newaxis]).reshape(-1, means.shape[1])
        self.num_others = others.shape[1]
        both = np.hstack([means, frames])
        self.mean = both.mean(axis=0)
        variances, directions = np.linalg.eigh(np.cov(both.T))
        factors = np.sqrt(np.maximum(variances[-RANK:], 0)) * directions[:, -RANK:]
        self.factors = factors.T.astype(np.float32)

    def draw(self, count: int) -> EmbeddedRegions:
        """Draws images with random boxes."""
        normal = self.random.standard_normal([count, len(self.factors)], np.float32)
        means, frames = np.split(normal @ self.factors + self.mean, 2, axis=1)
        rows = self.random.integers(len(self.differences), size=[count, self.num_others])
        others = means[:, np.newaxis] + self.differences[rows]
        embeddings = np.concatenate([frames[:, np.newaxis], others], axis=1)
        shape = embeddings.shape[:2]
        boxes = self.random.random([*shape, 4], np.float32)
        return EmbeddedRegions(embeddings, boxes, boxes[..., 0], np.ones(shape, bool))


def main() -> None:
    """Builds the index step by step, and prints the results for each size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run-dir", required=True)
    parser.add_argument("--features", required=True, type=Path)
    parser.add_argument("--images", nargs="+", type=int, default=[1_000, 10_000, 100_000, 10**6])
    parser.add_argument("--queries", type=int, default=20)
    parser.add_argument("--candidates", nargs="+", type=int, default=[CANDIDATES, 10 * CANDIDATES])
    parser.add_argument("--json", type=Path, help="write the results here")
    parser.add_argument("--index", type=Path, help="a new folder; by default, a temporary one")
    options = parser.parse_args()
    run = TrainedRun(options.run_dir)
    shards = map(open_records, sorted(options.features.glob("*.npy")))
    images = Images(
        np.concatenate(
            [
                run.grounder.embed(as_regions(records).region_features)[
                    records["region_mask"].all(1)
                ]
                for records in shards
                if records is not None
            ]
        )
    )
    with (run.run / "alignments.jsonl").open(encoding="utf-8") as file:
        lines = [json.loads(line)["tokens"] for line in file]
    chosen = np.linspace(0, len(lines) - 1, options.queries).astype(int)
    queries = [run.grounder.read(" ".join(lines[number])) for number in chosen]
    with tempfile.TemporaryDirectory(prefix="search_index-") as temporary:
        results = measure(run, images, queries, options, options.index or Path(temporary) / "index")
    if options.json:
        write_atomically(options.json, json.dumps(results, indent=1) + "\n")


def measure(
    run: TrainedRun,
    images: Images,
    queries: list[Query],
    options: argparse.Namespace,
    folder: Path,
) -> list[dict[str, Any]]:
    """Adds images up to each size, and searches all of them."""
    results: list[dict[str, Any]] = []
    key = {"model": "synthetic", "digest": "", "embedding_dim": images.factors.shape[1] // 2}
    index = create_index(folder, str(folder), key)
    best = np.zeros([len(queries), 0], [("score", "f4"), ("name", "i8")])
    drawn, writing = 0, 0.0
    for size in options.images:
        while drawn < size:
            count = min(SHARD_SIZE, size - drawn)
            regions = images.draw(count)
            names = np.arange(drawn, drawn + count)
            found = np.empty([len(queries), count], best.dtype)
            found["name"] = names
            found["score"] = run.grounder.scores(regions.embeddings, regions.mask, queries).T
            best = np.sort(np.concatenate([best, found], axis=1), order="score")[:, -TOP:]
            started = time.perf_counter()
            index.add([b"%d" % n for n in names], [str(n) for n in names], regions)
            writing += time.perf_counter() - started
            drawn += count
        opened = open_index(folder, str(folder), key)
        size_in_bytes = sum(path.stat().st_size for path in folder.rglob("*.npy"))
        print(f"{size:,} images: {size / writing:,.0f} written a second, {size_in_bytes:,} bytes")
        for candidates in options.candidates:
            seconds, first_step, hits = [], [], 0
            for query, exact in zip(queries, best["name"], strict=True):
                started = time.perf_counter()
                [ranked] = rank_index(run.grounder, [query], opened, TOP, candidates)
                seconds.append(time.perf_counter() - started)
                hits += len({int(source.name) for source in ranked.sources} & set(exact.tolist()))
                started = time.perf_counter()
                opened.candidates(np.ones([1, key["embedding_dim"]], np.float32), candidates)
                first_step.append(time.perf_counter() - started)
            results.append(
                {
                    "images": size,
                    "bytes": size_in_bytes,
                    "candidates": candidates,
                    "recall": hits / best["name"].size,
                    "seconds": round(median(seconds), 4),
                    "seconds_for_candidates": round(median(first_step), 4),
                }
            )
            print(results[-1], flush=True)
    return results


if __name__ == "__main__":
    main()
