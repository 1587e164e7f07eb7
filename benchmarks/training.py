"""Training: steps of all models, on one batch and from a cache on disk."""

from __future__ import annotations

import importlib
import importlib.util
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from benchmarks import floors
from benchmarks.inputs import (
    DIM,
    FEATURES,
    REGIONS,
    VOCABULARY,
    WORD_DIM,
    features,
    padded,
    token_rows,
)
from benchmarks.measuring import Case, Work
from visem_tf.models.alignment_model import AlignmentModel
from visem_tf.models.attention_generator import AttentionGenerator
from visem_tf.models.caption_generator import CaptionGenerator
from visem_tf.models.region_encoder import RegionEncoder
from visem_tf.models.sentence_encoder import SentenceEncoder
from visem_tf.regions.dataset_cache import FeatureCache
from visem_tf.regions.shards import record_fields
from visem_tf.text import UNK_ID
from visem_tf.training.batches import epoch_batches
from visem_tf.training.examples import Pairs, alignment_examples, caption_examples

POLICIES = ("float32", "mixed_bfloat16")
STEPS = 20
Batch = dict[str, tf.Tensor]

peers = importlib.import_module("benchmarks.peers") if importlib.util.find_spec("torch") else None


def alignment(count: int, given: Namespace) -> Iterator[Case]:
    """Yields a training step of the alignment, with 20 regions and with the whole frame alone."""
    rows = token_rows(np.random.default_rng(0), count)
    for regions, policy in ((REGIONS, "float32"), (REGIONS, "mixed_bfloat16"), (1, "float32")):
        vectors = features(np.random.default_rng(0), count, regions, FEATURES)
        batch = {
            "region_features": tf.constant(vectors),
            "region_mask": tf.ones(vectors.shape[:2], tf.bool),
            "token_ids": tf.constant(padded(rows)),
            "image_ids": tf.range(count),
        }
        yield Case(
            f"alignment step, {'whole frame, ' if regions == 1 else ''}{policy}",
            f"B = {count}, R = {regions}, F = {FEATURES:,}, D = {DIM:,}",
            "pairs",
            count,
            training_steps(aligner(policy), batch),
            floor=lambda regions=regions: floors.together(
                *floors.trained_on(count * regions, FEATURES, DIM),
                floors.layers((sum(map(len, rows)), DIM, count * regions)),
                *_encoder_products(rows),
            ),
            peer=peer_in_float32("alignment", batch["region_features"], batch["token_ids"])
            if policy == "float32"
            else None,
        )


def generator(count: int, given: Namespace) -> Iterator[Case]:
    """Yields a training step of RNNs and LSTMs of 256 and 512 units."""
    rows = token_rows(np.random.default_rng(0), count)
    batch = {
        "image_features": tf.constant(features(np.random.default_rng(0), count, FEATURES)),
        "token_ids": tf.constant(padded(rows, ends=True)),
    }
    length = np.array([len(row) + 1 for row in rows])
    targets, later = int(length.sum()), _rows_of_steps(length)[1:]
    for cell, gates in (("rnn", 1), ("lstm", 4)):
        for hidden in (512, 256):
            width = gates * hidden
            for policy in POLICIES:
                model = CaptionGenerator(VOCABULARY, hidden, hidden, cell=cell, dtype=policy)
                model.compile(optimizer=keras.optimizers.RMSprop(1e-6))
                yield Case(
                    f"generator step, {cell} {hidden}, {policy}",
                    f"B = {count}, V = {VOCABULARY:,}",
                    "words",
                    targets - count,
                    training_steps(model, batch),
                    floor=lambda hidden=hidden, width=width: floors.together(
                        *floors.trained_on(count, FEATURES, width),
                        floors.layers((targets, hidden, width), (targets, hidden, VOCABULARY)),
                        floors.recurrence(later, hidden, width),
                    ),
                    peer=peer_in_float32("generator", hidden, *batch.values())
                    if (cell, policy) == ("rnn", "float32")
                    else None,
                )


def attention(count: int, given: Namespace) -> Iterator[Case]:
    """Yields a training step of the generator with attention, as in the preset `best`.

    All sentences have the same length, which bucketing approximates.
    """
    random, words = np.random.default_rng(0), 10
    rows = list(random.integers(UNK_ID + 1, VOCABULARY, [count, words], np.int32))
    batch = {
        "region_features": tf.constant(features(random, count, REGIONS, FEATURES)),
        "region_mask": tf.ones([count, REGIONS], tf.bool),
        "token_ids": tf.constant(padded(rows, ends=True)),
    }
    steps, regions = words + 1, REGIONS * count
    targets = steps * count
    for hidden in (256, 512):
        width = 4 * hidden
        shapes = [
            (regions, hidden, hidden),  # keys
            (count, hidden, hidden),  # h_0
            (count, hidden, hidden),  # c_0
            (targets, hidden, width),  # words
            (targets, hidden, width),  # contexts
            (targets, hidden, VOCABULARY),
        ]
        for policy in POLICIES:
            model = AttentionGenerator(
                VOCABULARY, hidden, hidden, doubly_stochastic=1.0, cell="lstm", dtype=policy
            )
            model.compile(optimizer=keras.optimizers.Adam(1e-6))
            yield Case(
                f"attention generator step, lstm {hidden}, {policy}",
                f"B = {count}, R = {REGIONS}, F = {FEATURES:,}, V = {VOCABULARY:,}",
                "words",
                count * words,
                training_steps(model, batch),
                floor=lambda hidden=hidden, shapes=shapes: floors.together(
                    *floors.trained_on(regions, FEATURES, hidden),
                    floors.layers(*shapes),
                    floors.recurrence([count] * steps, hidden, 5 * hidden + 1),
                ),
            )


def training(count: int, given: Namespace) -> Iterator[Case]:
    """Yields training from a cache on disk, as in `fit`, and the share of time it waits for input.

    The cache has random features of `count` images with five sentences each. The floor is as many
    steps on one batch in memory.
    """
    rows, batch_size = token_rows(np.random.default_rng(0), 5 * count), min(count, 100)
    token_ids = tf.RaggedTensor.from_row_lengths(np.concatenate(rows), list(map(len, rows)))
    image_index = np.arange(5 * count) // 5
    with tempfile.TemporaryDirectory() as folder:
        cache = _random_cache(Path(folder), count)
        positions = epoch_batches(5 * count, batch_size, seed=0, epochs=1_000)
        frames = cache.frame_features()
        writer = CaptionGenerator(VOCABULARY)
        writer.compile(optimizer=keras.optimizers.RMSprop(1e-4))
        pairs = Pairs(cache, token_ids, image_index)
        for name, model, batches in (
            ("alignment", aligner(dropout=0.0), alignment_examples(positions, pairs)),
            (
                "generator",
                writer,
                caption_examples(positions, lambda p: frames[image_index[p]], FEATURES, token_ids),
            ),
        ):
            iterator, waiting = iter(batches), []
            first = next(iterator)
            yield Case(
                f"{name} from the cache",
                f"{count:,} images, {5 * count:,} sentences, B = {batch_size}",
                "pairs",
                STEPS * batch_size,
                _timed_steps(model, first, iterator, waiting),
                floor=lambda model=model, first=first: training_steps(model, first, STEPS),
                notes=lambda waiting=waiting: {"waiting": median(waiting[1:] or waiting)},
            )


def aligner(policy: str = "float32", dropout: float = 0.2) -> AlignmentModel:
    """Returns a compiled alignment model with the settings of the paper."""
    encoder = SentenceEncoder(VOCABULARY, DIM, DIM, WORD_DIM, dropout, dropout, dtype=policy)
    model = AlignmentModel(RegionEncoder(DIM, dropout=0.2, dtype=policy), encoder, dtype=policy)
    model.compile(optimizer=keras.optimizers.SGD(1e-5, momentum=0.9))
    return model


def training_steps(model: keras.Model, batch: Batch, steps: int = 1) -> Work:
    """Returns the training of a compiled model on a batch."""
    step = compiled_step(model, batch)
    return lambda: [step(batch)["loss"].numpy() for _ in range(steps)]


def compiled_step(model: keras.Model, batch: Batch) -> Callable[[Batch], dict[str, tf.Tensor]]:
    """Returns the training step of a compiled model as a graph."""
    if not model.built:
        model(batch)
        model.optimizer.build(model.trainable_variables)
    return tf.function(model.train_step, autograph=False, reduce_retracing=True)


def peer_in_float32(name: str, *arguments: Any) -> Callable[[], Work] | None:
    """Returns what makes the work of PyTorch, or None if it is not installed.

    Args:
        name: Name of a function of `benchmarks.peers`.
        arguments: Arguments of the function. Tensors are converted to NumPy arrays.
    """
    if peers is None:
        return None
    arrays = [x.numpy() if tf.is_tensor(x) else x for x in arguments]
    return lambda: getattr(peers, name)(*arrays)


def _encoder_products(rows: list[np.ndarray]) -> list[floors.Part]:
    """Returns the matrix products of the sentence encoder, on real words only."""
    length = np.array([len(row) for row in rows])
    words, later = int(length.sum()), _rows_of_steps(length)[1:]
    affine = floors.layers((words, WORD_DIM, DIM), (words, DIM, DIM))
    return [affine, *(floors.recurrence(later, DIM, DIM) for _ in range(2))]


def _rows_of_steps(length: np.ndarray) -> list[int]:
    """Returns how many sentences have a word at every step."""
    return [int((length > t).sum()) for t in range(length.max())]


def _timed_steps(
    model: keras.Model, first: Batch, batches: Iterator[Batch], waiting: list[float]
) -> Work:
    """Returns 20 steps, which append the share of their time that was spent waiting for input."""
    step = compiled_step(model, first)

    def run() -> None:
        began, waited = time.perf_counter(), 0.0
        for _ in range(STEPS):
            asked = time.perf_counter()
            batch = next(batches)
            waited += time.perf_counter() - asked
            step(batch)["loss"].numpy()
        waiting.append(waited / (time.perf_counter() - began))

    return run


def _random_cache(folder: Path, count: int) -> FeatureCache:
    """Writes a finished cache of random features."""
    random, cache = np.random.default_rng(1), FeatureCache(folder, {}, count)
    for shard in range(cache.num_shards):
        size = cache.shard_size(shard)
        records = np.zeros(size, record_fields(REGIONS, FEATURES))
        records["region_features"] = features(random, size, REGIONS, FEATURES)
        records["region_mask"] = True
        cache.write(shard, records)
    return cache
