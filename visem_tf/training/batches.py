"""Batches of positions, in an order that depends on the seed and the epoch only.

An interrupted training resumes at any step with the batches that it would have seen without the
interruption, and several replicas together see the same batches as one.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf


class Part(NamedTuple):
    """Part of the batches of a training that a process needs: from which step, for which replicas.

    Attributes:
        epoch: First epoch.
        step: Batches of the first epoch to skip, because the model was trained on them before an
            interruption.
        replica: Index of the first replica of this process, among all replicas.
        local_replicas: Number of replicas of this process.
        replicas: Number of replicas of all processes.
    """

    epoch: int = 0
    step: int = 0
    replica: int = 0
    local_replicas: int = 1
    replicas: int = 1


WHOLE = Part()
"""All batches, for one replica."""


def epoch_batches(
    num_examples: int,
    batch_size: int,
    *,
    seed: int,
    epochs: int,
    part: Part = WHOLE,
    lengths: np.ndarray | None = None,
    bucket_batches: int = 0,
    draws: int = 0,
) -> tf.data.Dataset:
    """Makes batches of positions: every epoch visits all examples, in a random order of its own.

    With `bucket_batches`, batches have examples of similar lengths: the shuffled examples of every
    `bucket_batches` batches are sorted by length and cut into batches again, whose order is
    random. The last, smaller batch is not sorted.

    Args:
        num_examples: Number of examples; positions are in [0, num_examples).
        batch_size: B, examples of a batch for all replicas together.
        seed: Seed that, with the epoch, determines the order.
        epochs: Number of epochs of the whole training.
        part: Where to begin, and for which replicas; see `shares`.
        lengths: Number of words of every example, int [num_examples]; needed for buckets.
        bucket_batches: Number of batches whose examples are sorted together; 0 and 1 do not sort.
        draws: Random numbers that come with every example, other ones in every epoch.

    Returns:
        Dataset of int32 [B / R] for each replica of each batch; with `draws`, of dictionaries of
        these "positions" and of "random", float32 [B / R, draws] in [0, 1). The last batch of an
        epoch is smaller if B does not divide the number of examples.
    """
    key = tf.constant(seed % 2**31, tf.int64)

    def shuffled(epoch: tf.Tensor) -> tf.data.Dataset:
        positions = tf.random.experimental.stateless_shuffle(
            tf.range(num_examples), seed=tf.stack([key, epoch])
        )
        if bucket_batches > 1:
            # The seed of an epoch that no training has, for the order of the batches.
            order_seed = tf.stack([key, -1 - epoch])
            positions = _by_length(positions, lengths, batch_size, bucket_batches, order_seed)
        done = tf.where(tf.equal(epoch, part.epoch), part.step * batch_size, 0)
        examples: Any = positions[done:]
        if draws:
            random = tf.random.stateless_uniform([num_examples, draws], tf.stack([-1 - key, epoch]))
            examples = {"positions": examples, "random": random[done:]}
        return tf.data.Dataset.from_tensor_slices(examples).batch(batch_size)

    return shares(tf.data.Dataset.range(part.epoch, epochs).flat_map(shuffled), part)


def _by_length(
    positions: tf.Tensor,
    lengths: np.ndarray | None,
    batch_size: int,
    bucket_batches: int,
    seed: tf.Tensor,
) -> tf.Tensor:
    """Reorders positions int32 [S] so that every whole batch has examples of similar lengths."""
    if lengths is None:
        raise ValueError("lengths must be given if bucket_batches is above 1")
    batches = positions.shape[0] // batch_size
    whole = positions[: batches * batch_size]
    bucket = tf.range(batches * batch_size) // (batch_size * bucket_batches)
    length = tf.gather(tf.constant(lengths, tf.int32), whole)
    order = tf.argsort(bucket * (int(np.max(lengths)) + 1) + length, stable=True)
    by_batch = tf.reshape(tf.gather(whole, order), [batches, batch_size])
    # Batches are in random order within their bucket, so that long texts do not always come last.
    noise = tf.random.stateless_uniform([batches], seed=seed)
    places = tf.argsort(tf.cast(tf.range(batches) // bucket_batches, tf.float32) + noise)
    return tf.concat(
        [tf.reshape(tf.gather(by_batch, places), [-1]), positions[tf.size(whole) :]], 0
    )


def ordered_batches(num_examples: int, batch_size: int, part: Part = WHOLE) -> tf.data.Dataset:
    """Makes batches of positions in order, once: for validation.

    Args:
        num_examples: Number of examples.
        batch_size: B, examples of a batch for all replicas together.
        part: Replicas whose shares are returned, see `shares`.
    """
    batches = tf.data.Dataset.range(num_examples, output_type=tf.int32).batch(batch_size)
    return shares(batches, part)


def shares(batches: tf.data.Dataset, part: Part) -> tf.data.Dataset:
    """Cuts every batch into the shares of the replicas of a process, one after the other.

    Args:
        batches: Dataset of tensors [B, ...], or of dictionaries of them.
        part: Replicas whose shares are returned. Each of the R replicas gets a slice of every
            batch, and the sizes of the slices differ by at most one.
    """
    if part.replicas == 1:
        return batches

    def split(batch: Any) -> tf.data.Dataset:
        size = tf.shape(tf.nest.flatten(batch)[0])[0]

        def share(replica: tf.Tensor) -> Any:
            first, last = replica * size // part.replicas, (replica + 1) * size // part.replicas
            return tf.nest.map_structure(lambda rows: rows[first:last], batch)

        local = tf.data.Dataset.range(
            part.replica, part.replica + part.local_replicas, output_type=tf.int32
        )
        return local.map(share)

    return batches.flat_map(split)


def distributed(
    strategy: tf.distribute.Strategy,
    make_dataset: Callable[[Part], tf.data.Dataset],
    part: Part = WHOLE,
) -> tf.data.Dataset:
    """Gives every replica its own share of the batches; a worker reads only what it needs.

    Args:
        strategy: Strategy of the model.
        make_dataset: Makes the examples of a part, as `epoch_batches` does.
        part: Where to begin; the replicas are filled in here.

    Returns:
        Dataset for `Model.fit` and `Model.evaluate`.
    """
    replicas = strategy.num_replicas_in_sync
    if replicas == 1:
        return make_dataset(part)

    def of_worker(context: tf.distribute.InputContext) -> tf.data.Dataset:
        local = replicas // context.num_input_pipelines
        first = context.input_pipeline_id * local
        return make_dataset(part._replace(replica=first, local_replicas=local, replicas=replicas))

    return strategy.distribute_datasets_from_function(of_worker)
