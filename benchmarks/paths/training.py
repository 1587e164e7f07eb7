"""Training from a cache on disk, as in `fit`: time per example, and time waiting for input.

Random features and sentences for one, three and ten times as many images.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from benchmarks.case import Case
from benchmarks.paths.sentences import VOCABULARY, features, token_rows
from visem_tf.models.alignment_model import AlignmentModel
from visem_tf.models.caption_generator import CaptionGenerator
from visem_tf.models.region_encoder import RegionEncoder
from visem_tf.models.sentence_encoder import SentenceEncoder
from visem_tf.regions.dataset_cache import FeatureCache
from visem_tf.regions.shards import record_fields
from visem_tf.training.pipeline import (
    Pairs,
    alignment_examples,
    caption_examples,
    epoch_batches,
)

PICTURES = {"small": 500, "middle": 1_500, "large": 5_000}
REGIONS, FEATURES, BATCH, STEPS = 20, 1_280, 100, 20


def cases(size: str) -> Iterator[Case]:
    """Yields the alignment of the preset `paper` and the full-frame generator."""
    count = PICTURES[size]
    random = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        cache = random_cache(Path(folder), count)
        rows = token_rows(random, 5 * count)
        token_ids = tf.RaggedTensor.from_row_lengths(
            np.concatenate(rows), [len(row) for row in rows]
        )
        image_index = np.arange(5 * count) // 5

        def positions() -> tf.data.Dataset:
            return epoch_batches(5 * count, BATCH, seed=0, epochs=1_000)

        aligner = AlignmentModel(
            RegionEncoder(1_000, dropout=0.2), SentenceEncoder(VOCABULARY, 1_000, 1_000, 300)
        )
        aligner.build({"region_features": (None, REGIONS, FEATURES), "token_ids": (None, None)})
        aligner.compile(optimizer=keras.optimizers.SGD(1e-5, momentum=0.9))
        yield _case(
            "alignment from the cache",
            size,
            count,
            aligner,
            alignment_examples(positions(), Pairs(cache, token_ids, image_index)),
        )
        generator = CaptionGenerator(VOCABULARY)
        generator.build({"image_features": (None, FEATURES), "token_ids": (None, None)})
        generator.compile(optimizer=keras.optimizers.RMSprop(1e-4))
        frames = cache.frame_features()
        yield _case(
            "generator from the cache",
            size,
            count,
            generator,
            caption_examples(positions(), lambda p: frames[image_index[p]], FEATURES, token_ids),
        )


def _case(path: str, size: str, count: int, model: keras.Model, batches: tf.data.Dataset) -> Case:
    model.optimizer.build(model.trainable_variables)
    step = tf.function(model.train_step, autograph=False, reduce_retracing=True)
    iterator = iter(batches)
    waiting: list[float] = []

    def run() -> None:
        began, waited = time.perf_counter(), 0.0
        for _ in range(STEPS):
            asked = time.perf_counter()
            batch = next(iterator)
            waited += time.perf_counter() - asked
            step(batch)["loss"].numpy()
        waiting.append(waited / (time.perf_counter() - began))

    return Case(
        path,
        size,
        f"{count:,} pictures, {5 * count:,} sentences, B = {BATCH}",
        "pairs",
        STEPS * BATCH,
        run,
        waiting=waiting,
    )


def random_cache(folder: Path, count: int) -> FeatureCache:
    """Writes a finished cache of random features."""
    random = np.random.default_rng(1)
    cache = FeatureCache(folder, {}, count)
    for shard in range(cache.num_shards):
        size = cache.shard_size(shard)
        records = np.zeros(size, record_fields(REGIONS, FEATURES))
        records["region_features"] = features(random, size, REGIONS, FEATURES)
        records["region_mask"] = True
        cache.write(shard, records)
    return cache
