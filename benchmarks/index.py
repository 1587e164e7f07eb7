"""Search in an index of synthetic images with the statistics of real ones.

    python -m benchmarks index --sizes 1000000 --rounds 1 --run-dir runs/flickr8k

The index lies in a temporary folder (`TMPDIR`), which must have room for it.
"""

from __future__ import annotations

import json
import tempfile
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.measuring import Case, seconds
from visem_tf.errors import UserError
from visem_tf.regions.dataset_cache import FeatureCache
from visem_tf.regions.index_shards import EmbeddedRegions
from visem_tf.regions.search_index import SHARD_SIZE, create_index, open_index
from visem_tf.runs.ranking import CANDIDATES, rank_index
from visem_tf.runs.run_directory import RunDirectory
from visem_tf.runs.trained_run import TrainedRun

TOP = 10


def index(count: int, given: Namespace) -> Iterator[Case]:
    """Yields searches of an index of `count` synthetic images; the floor is its first step.

    Queries are training sentences of the run. The exact scores, of which the best ten should be
    found, are computed in 32 bits while the images are drawn.
    """
    run = TrainedRun(given.run_dir)
    images = SyntheticImages(run)
    with (run.run / "alignments.jsonl").open(encoding="utf-8") as file:
        lines = [json.loads(line)["tokens"] for line in file]
    chosen = np.linspace(0, len(lines) - 1, 20).astype(int)
    queries = [run.grounder.read(" ".join(lines[number])) for number in chosen]
    key = {"model": "synthetic", "digest": "", "embedding_dim": images.dim}
    best, writing = np.zeros([len(queries), 0], [("score", "f4"), ("name", "i8")]), 0.0
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "index"
        new = create_index(folder, str(folder), key)
        for first in range(0, count, SHARD_SIZE):
            names = np.arange(first, min(first + SHARD_SIZE, count))
            regions = images.draw(len(names))
            found = np.empty([len(queries), len(names)], best.dtype)
            found["name"] = names
            found["score"] = run.grounder.scores(
                regions.embeddings, regions.mask, queries, regions.hubness
            ).T
            best = np.sort(np.concatenate([best, found], axis=1), order="score")[:, -TOP:]
            shard = [b"%d" % name for name in names], [str(name) for name in names], regions
            writing += seconds(lambda shard=shard: new.add(*shard))
        opened = open_index(folder, str(folder), key)
        sums = np.ones([1, images.dim], np.float32)
        size = sum(path.stat().st_size for path in folder.rglob("*.npy"))
        for candidates in (CANDIDATES, 10 * CANDIDATES):

            def search(candidates: int = candidates) -> np.ndarray:
                """Searches by every query, and returns the numbers of the images found."""
                ranked = [
                    rank_index(run.grounder, [query], opened, TOP, candidates)[0]
                    for query in queries
                ]
                return np.array([[int(source.name) for source in each.sources] for each in ranked])

            hits = [np.isin(*rows).mean() for rows in zip(best["name"], search(), strict=True)]
            yield Case(
                f"search with {candidates:,} candidates",
                f"{count:,} images, {size / 1e6:,.0f} MB, {images.dim} dimensions",
                "queries",
                len(queries),
                search,
                floor=lambda candidates=candidates: (
                    lambda: [opened.candidates(sums, candidates) for _ in queries]
                ),
                notes=lambda hits=hits: {
                    "recall": float(np.mean(hits)),
                    "written_a_second": count / writing,
                },
            )


class SyntheticImages:
    """Draws images with the statistics of the training images that a run embeds.

    The mean of an image's regions and its whole frame are drawn together from a normal distribution
    with their mean and covariance. What the other regions differ from that mean is drawn from the
    real differences.

    Args:
        run: A finished run, whose features are in the cache.
        rank: Number of directions of the covariance that are kept.
    """

    def __init__(self, run: TrainedRun, rank: int = 256) -> None:
        self.random = np.random.default_rng(0)
        embeddings = np.concatenate(
            [
                run.grounder.embed(regions.region_features)[np.all(regions.region_mask, axis=1)]
                for _, regions in _cached(run, "train").batches(SHARD_SIZE)
            ]
        )
        frames, others = embeddings[:, 0], embeddings[:, 1:]
        means = others.mean(axis=1)
        self.num_others, self.dim = others.shape[1:]
        self.differences = (others - means[:, np.newaxis]).reshape(-1, self.dim)
        both = np.hstack([means, frames])
        self.mean = both.mean(axis=0)
        variances, directions = np.linalg.eigh(np.cov(both.T))
        factors = np.sqrt(np.maximum(variances[-rank:], 0)) * directions[:, -rank:]
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
        hubness = self.random.standard_normal(count, np.float32)
        return EmbeddedRegions(embeddings, boxes, boxes[..., 0], np.ones(shape, bool), hubness)


def _cached(run: TrainedRun, split: str) -> FeatureCache:
    """Returns the features of a split that a run has cached."""
    found = RunDirectory(run.run.path).summary("features")
    if not found.get("cache"):
        raise UserError(f"{run.run.path} has not finished the stage features")
    folder = Path(found["cache"][split])
    key = json.loads((folder / "key.json").read_text(encoding="utf-8"))
    return FeatureCache(folder, key, found["pictures"][split])
