"""Batches for training, in an order that depends on the seed and the epoch alone.

An interrupted training that goes on with epoch e sees what it would have seen without the
interruption. Features are read from the cache batch by batch, so that memory does not grow with the
data.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from visem_tf.regions.cache import FeatureCache
from visem_tf.text import PAD_ID, with_start_and_end


def epoch_batches(
    num_examples: int, batch_size: int, *, seed: int, first_epoch: int, epochs: int
) -> tf.data.Dataset:
    """Batches of positions: every epoch goes through all examples in an order of its own.

    Returns:
      int32 [B] for each batch of the epochs from `first_epoch` to `epochs` - 1, the last batch of
      an epoch being smaller where the size does not divide.
    """

    def shuffled(epoch: tf.Tensor) -> tf.data.Dataset:
        positions = tf.random.experimental.stateless_shuffle(
            tf.range(num_examples), seed=tf.stack([tf.constant(seed % 2**31, tf.int64), epoch])
        )
        return tf.data.Dataset.from_tensor_slices(positions).batch(batch_size)

    return tf.data.Dataset.range(first_epoch, epochs).flat_map(shuffled)


def ordered_batches(num_examples: int, batch_size: int) -> tf.data.Dataset:
    """Batches of positions in order, once: for validation."""
    return tf.data.Dataset.range(num_examples, output_type=tf.int32).batch(batch_size)


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
            "token_ids": with_start_and_end(words).to_tensor(PAD_ID),
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
            "token_ids": with_start_and_end(words).to_tensor(PAD_ID),
        }

    return _prefetched(batches, example)


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
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    examples = batches.map(example, num_parallel_calls=2, deterministic=True)
    return examples.with_options(options).prefetch(2)
