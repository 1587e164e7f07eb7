"""Batches for training, in an order that depends on the seed and the epoch alone.

An interrupted training that goes on with some step of an epoch sees what it would have seen without
the interruption, and so do several replicas together. Features are read from the cache batch by
batch, so that memory does not grow with the data.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from visem_tf.regions.dataset_cache import FeatureCache
from visem_tf.text import PAD_ID, with_start_and_end


class Part(NamedTuple):
    """Which part of a training's batches a process wants: from where, and for which replicas.

    Attributes:
      epoch: The first epoch.
      step: Batches of that epoch to leave out, as they were trained on before an interruption.
      replica: The first of this process's replicas, among all.
      local_replicas: Replicas of this process.
      replicas: Replicas of all processes.
    """

    epoch: int = 0
    step: int = 0
    replica: int = 0
    local_replicas: int = 1
    replicas: int = 1


WHOLE = Part()
"""Everything, for one replica."""


def epoch_batches(
    num_examples: int,
    batch_size: int,
    *,
    seed: int,
    epochs: int,
    part: Part = WHOLE,
    lengths: np.ndarray | None = None,
    bucket_batches: int = 0,
) -> tf.data.Dataset:
    """Batches of positions: every epoch goes through all examples in an order of its own.

    Where `bucket_batches` says so, examples of like length are put together: after the shuffling,
    every so many batches are sorted by length, cut anew, and taken in a random order. The last,
    smaller batch stays as it was drawn.

    Args:
      num_examples: Positions go from 0 to this.
      batch_size: B, of all replicas together.
      seed: With the epoch it decides the order.
      epochs: Where the training ends.
      lengths: Words of every example, int [num_examples]; needed for `bucket_batches`.
      bucket_batches: Among how many batches examples of like length are sought; 0 or 1: nowhere.
      part: Where to begin. Each of the R replicas gets a share of every batch, one after the other
        and of sizes that differ by one at most: its elements are the shares of this process's
        replicas in turn.

    Returns:
      int32 [B / R] for each replica of each batch, the last batch of an epoch being smaller where
      the size does not divide.
    """
    key = tf.constant(seed % 2**31, tf.int64)
    if bucket_batches > 1:
        if lengths is None:
            raise ValueError("lengths must be given where bucket_batches is above 1")
        all_lengths = tf.constant(lengths, tf.int32)

    def shuffled(epoch: tf.Tensor) -> tf.data.Dataset:
        positions = tf.random.experimental.stateless_shuffle(
            tf.range(num_examples), seed=tf.stack([key, epoch])
        )
        if bucket_batches > 1:
            # The seed of another draw: an epoch that no training has.
            draw = tf.stack([key, -1 - epoch])
            positions = _by_length(positions, all_lengths, batch_size, bucket_batches, draw)
        done = tf.where(tf.equal(epoch, part.epoch), part.step * batch_size, 0)
        return tf.data.Dataset.from_tensor_slices(positions[done:]).batch(batch_size)

    return shares(tf.data.Dataset.range(part.epoch, epochs).flat_map(shuffled), part)


def _by_length(
    positions: tf.Tensor, lengths: tf.Tensor, batch_size: int, bucket_batches: int, draw: tf.Tensor
) -> tf.Tensor:
    """Positions int32 [S] such that every whole batch of them has like lengths."""
    batches = positions.shape[0] // batch_size
    whole = positions[: batches * batch_size]
    bucket = tf.range(batches * batch_size) // (batch_size * bucket_batches)
    length = tf.gather(lengths, whole)
    order = tf.argsort(bucket * (tf.reduce_max(lengths) + 1) + length, stable=True)
    by_batch = tf.reshape(tf.gather(whole, order), [batches, batch_size])
    # Within its bucket every batch gets a place by lot: long sentences do not always come last.
    lot = tf.random.stateless_uniform([batches], seed=draw)
    places = tf.argsort(tf.cast(tf.range(batches) // bucket_batches, tf.float32) + lot)
    return tf.concat(
        [tf.reshape(tf.gather(by_batch, places), [-1]), positions[tf.size(whole) :]], 0
    )


def ordered_batches(num_examples: int, batch_size: int, part: Part = WHOLE) -> tf.data.Dataset:
    """Batches of positions in order, once: for validation; `part` shares them out."""
    batches = tf.data.Dataset.range(num_examples, output_type=tf.int32).batch(batch_size)
    return shares(batches, part)


def shares(batches: tf.data.Dataset, part: Part) -> tf.data.Dataset:
    """Cuts every batch into the shares of a process's replicas, which follow each other.

    Args:
      batches: Tensors [B, ...], or several under names.
      part: Whose shares they are; where to begin is not looked at.
    """
    if part.replicas == 1:
        return batches

    def split(batch: Any) -> tf.data.Dataset:
        size = tf.shape(tf.nest.flatten(batch)[0])[0]

        def share(replica: tf.Tensor) -> Any:
            first, last = replica * size // part.replicas, (replica + 1) * size // part.replicas
            return tf.nest.map_structure(lambda rows: rows[first:last], batch)

        mine = tf.data.Dataset.range(
            part.replica, part.replica + part.local_replicas, output_type=tf.int32
        )
        return mine.map(share)

    return batches.flat_map(split)


def distributed(
    strategy: tf.distribute.Strategy,
    make_dataset: Callable[[Part], tf.data.Dataset],
    part: Part = WHOLE,
) -> tf.data.Dataset:
    """Gives every replica its own share, without reading what belongs to others.

    Args:
      strategy: What trains.
      make_dataset: Examples for the shares of a part, as of `epoch_batches`.
      part: Where to begin; whose replicas they are is filled in here.

    Returns:
      What `Model.fit` and `Model.evaluate` take.
    """
    replicas = strategy.num_replicas_in_sync
    if replicas == 1:
        return make_dataset(part)

    def of_worker(context: tf.distribute.InputContext) -> tf.data.Dataset:
        local = replicas // context.num_input_pipelines
        first = context.input_pipeline_id * local
        return make_dataset(part._replace(replica=first, local_replicas=local, replicas=replicas))

    return strategy.distribute_datasets_from_function(of_worker)


def alignment_examples(
    batches: tf.data.Dataset,
    cache: FeatureCache,
    token_ids: tf.RaggedTensor,
    image_index: np.ndarray,
) -> tf.data.Dataset:
    """Pairs of a picture and a sentence, as `AlignmentModel.train_step` takes them.

    Args:
      batches: Positions of sentences, int32 [B].
      cache: The pictures' regions.
      token_ids: int32 [S, (T)], a row a sentence.
      image_index: int [S], the picture of every sentence.
    """
    image_index = tf.constant(image_index, tf.int32)

    def example(positions: tf.Tensor) -> dict[str, tf.Tensor]:
        images = tf.gather(image_index, positions)
        return {
            **_regions(cache, images),
            "token_ids": tf.gather(token_ids, positions).to_tensor(PAD_ID),
            "image_ids": images,
            "sentence_ids": positions,
        }

    return _prefetched(batches, example)


def attention_examples(
    batches: tf.data.Dataset,
    cache: FeatureCache,
    token_ids: tf.RaggedTensor,
    image_index: np.ndarray,
) -> tf.data.Dataset:
    """Pairs of a picture and a sentence, as `AttentionGenerator.train_step` takes them.

    Args:
      batches: Positions of sentences, int32 [B].
      cache: The pictures' regions.
      token_ids: int32 [S, (T)], a row a sentence, without START and END.
      image_index: int [S], the picture of every sentence.
    """
    image_index = tf.constant(image_index, tf.int32)

    def example(positions: tf.Tensor) -> dict[str, tf.Tensor]:
        words = tf.gather(token_ids, positions)
        return {
            **_regions(cache, tf.gather(image_index, positions)),
            "token_ids": _padded(with_start_and_end(words)),
        }

    return _prefetched(batches, example)


def picture_examples(
    batches: tf.data.Dataset, cache: FeatureCache, pictures: np.ndarray
) -> tf.data.Dataset:
    """Pictures without sentences, as `SelfCritical.train_step` takes them.

    Args:
      batches: Positions in `pictures`, int32 [B].
      cache: The pictures' regions.
      pictures: int [P], positions of pictures in the cache.
    """
    pictures = tf.constant(pictures, tf.int32)

    def example(positions: tf.Tensor) -> dict[str, tf.Tensor]:
        images = tf.gather(pictures, positions)
        return {**_regions(cache, images), "pictures": images}

    return _prefetched(batches, example)


def caption_examples(
    batches: tf.data.Dataset,
    read_features: Callable[[np.ndarray], np.ndarray],
    feature_dim: int,
    token_ids: tf.RaggedTensor,
) -> tf.data.Dataset:
    """Pairs of a feature vector and a text, as `CaptionGenerator.train_step` takes them.

    Args:
      batches: Positions of texts, int32 [B].
      read_features: Positions of texts to the vectors of their pictures or regions, [B, F].
      feature_dim: F.
      token_ids: int32 [S, (T)], a row a text, without START and END.
    """

    def example(positions: tf.Tensor) -> dict[str, tf.Tensor]:
        features = tf.numpy_function(read_features, [positions], tf.float32, stateful=False)
        words = tf.gather(token_ids, positions)
        return {
            "image_features": tf.ensure_shape(features, [None, feature_dim]),
            "token_ids": _padded(with_start_and_end(words)),
        }

    return _prefetched(batches, example)


def _padded(token_ids: tf.RaggedTensor) -> tf.Tensor:
    """The rows padded to one length; two columns also where a replica's share has no row."""
    padded = token_ids.to_tensor(PAD_ID)
    return tf.pad(padded, [[0, 0], [0, tf.maximum(0, 2 - tf.shape(padded)[1])]])


def _regions(cache: FeatureCache, images: tf.Tensor) -> dict[str, tf.Tensor]:
    """The regions of pictures int32 [B], from the cache."""
    num_regions, feature_dim = cache.num_regions, cache.feature_dim

    def read(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        regions = cache.gather(images)
        return regions.region_features, regions.region_mask

    features, mask = tf.numpy_function(read, [images], (tf.float32, tf.bool), stateful=False)
    return {
        "region_features": tf.ensure_shape(features, [None, num_regions, feature_dim]),
        "region_mask": tf.ensure_shape(mask, [None, num_regions]),
    }


def _prefetched(
    batches: tf.data.Dataset, example: Callable[[tf.Tensor], dict[str, tf.Tensor]]
) -> tf.data.Dataset:
    options = tf.data.Options()
    options.deterministic = True
    examples = batches.map(example, num_parallel_calls=2, deterministic=True)
    return examples.with_options(options).prefetch(2)
