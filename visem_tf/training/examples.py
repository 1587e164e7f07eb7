"""Examples for training, made from batches of positions (see `visem_tf.training.batches`).

Features are read from the cache batch by batch, so that memory does not grow with the data.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from visem_tf.alignment.substitutes import swap_nouns
from visem_tf.regions.dataset_cache import FeatureCache, Views
from visem_tf.regions.map_cache import MapCache
from visem_tf.runtime.pipelines import prefetched
from visem_tf.text import PAD_ID, with_start_and_end

_FIELDS = ("region_features", "region_mask")


class Pairs(NamedTuple):
    """Sentences of a split, with the regions of their images.

    Attributes:
        cache: Region features of the images.
        token_ids: Token ids of the sentences without START and END, int32 [S, (T)].
        image_index: Position of the image of every sentence, int [S].
    """

    cache: FeatureCache
    token_ids: tf.RaggedTensor
    image_index: np.ndarray


class Swaps(NamedTuple):
    """Inputs for making false sentences, see `visem_tf.alignment.substitutes`.

    Attributes:
        substitutes: Words that may replace every word, int32 [V, M].
        image_words: Words of the sentences of every image, int32 [I, (W)].
        per_pair: Number K of false sentences of each pair.
    """

    substitutes: np.ndarray
    image_words: tf.RaggedTensor
    per_pair: int

    @property
    def draws(self) -> int:
        """The number of random numbers that a pair needs."""
        return 2 * self.per_pair


def alignment_draws(swaps: Swaps | None, mirrored: FeatureCache | None) -> int:
    """Returns how many random numbers `alignment_examples` needs for every pair."""
    return (swaps.draws if swaps else 0) + (mirrored is not None)


def alignment_examples(
    batches: tf.data.Dataset,
    pairs: Pairs,
    swaps: Swaps | None = None,
    mirrored: FeatureCache | None = None,
) -> tf.data.Dataset:
    """Makes pairs of an image and a sentence, for `AlignmentModel.train_step`.

    Args:
        batches: Positions of sentences, int32 [B]; dictionaries of `epoch_batches` with
            `alignment_draws` random numbers, if these are not 0.
        pairs: Sentences and regions.
        swaps: What the false sentences `swapped_ids`, int32 [B, K, T], are made from. None leaves
            them out.
        mirrored: Region features of the mirror images, which take the place of those of the
            images in half of the cases. None leaves them out.
    """
    image_index = tf.constant(pairs.image_index, tf.int32)
    read = _view_reader(pairs.cache, mirrored, _FIELDS)

    def example(batch: Any) -> dict[str, tf.Tensor]:
        positions = batch["positions"] if alignment_draws(swaps, mirrored) else batch
        images = tf.gather(image_index, positions)
        words = tf.gather(pairs.token_ids, positions).to_tensor(PAD_ID)
        examples = {
            **read(images, None if mirrored is None else batch["random"][:, -1]),
            "token_ids": words,
            "image_ids": images,
            "sentence_ids": positions,
        }
        if swaps is None:
            return examples
        image_words = tf.gather(swaps.image_words, images).to_tensor(PAD_ID)
        random = tf.reshape(batch["random"][:, : swaps.draws], [-1, swaps.per_pair, 2])
        swapped = swap_nouns(words, image_words, tf.constant(swaps.substitutes), random)
        return {**examples, "swapped_ids": swapped}

    return mapped(batches, example)


def choose_sentences(
    first: tf.Tensor, counts: tf.Tensor, random: tf.Tensor, number: int
) -> tf.Tensor:
    """Chooses consecutive sentences of images, from a random one on, the first after the last.

    Args:
        first: Position of the first sentence of every image, int32 [...].
        counts: Number of sentences of every image, int32 [...].
        random: Random numbers in [0, 1), float32 [...].
        number: Number N of sentences; an image with fewer repeats some of them.

    Returns:
        Positions of sentences, int32 [..., N].

    Example:
        >>> import tensorflow as tf
        >>> choose_sentences(tf.constant(10), tf.constant(5), tf.constant(0.7), 3).numpy()
        array([13, 14, 10], dtype=int32)
    """
    begin = tf.cast(random * tf.cast(counts, tf.float32), tf.int32)[..., tf.newaxis]
    return first[..., tf.newaxis] + (begin + tf.range(number)) % counts[..., tf.newaxis]


def images_with_sentences(
    batches: tf.data.Dataset,
    pairs: Pairs,
    number: int,
    mirrored: FeatureCache | None = None,
) -> tf.data.Dataset:
    """Makes images with some sentences of each, for `SelfTrainingModel.train_step`.

    Args:
        batches: Dictionaries of `epoch_batches` with positions of images and two random numbers.
        pairs: Sentences and regions; the sentences of an image follow each other.
        number: Number of sentences of an image, see `choose_sentences`.
        mirrored: Region features of the mirror images, which take the place of those of the
            images in half of the cases. None leaves them out.
    """
    counts = np.bincount(pairs.image_index, minlength=len(pairs.cache)).astype(np.int32)
    first = tf.constant(np.cumsum(counts) - counts, tf.int32)
    read = _view_reader(pairs.cache, mirrored, (*_FIELDS, "boxes", "scores"))

    def example(batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        images, random = batch["positions"], batch["random"]
        found = tf.gather(first, images), tf.gather(counts, images), random[:, 0]
        sentences = tf.reshape(choose_sentences(*found, number), [-1])
        return {
            **read(images, random[:, 1]),
            "image_ids": images,
            "token_ids": tf.gather(pairs.token_ids, sentences).to_tensor(PAD_ID),
            "sentence_images": tf.repeat(images, number),
        }

    return mapped(batches, example)


def attention_examples(
    batches: tf.data.Dataset, pairs: Pairs, mirrored: FeatureCache | None = None
) -> tf.data.Dataset:
    """Makes pairs of an image and a sentence, for `AttentionGenerator.train_step`.

    Args:
        batches: Positions of sentences, int32 [B]; with `mirrored`, dictionaries of `epoch_batches`
            with one random number.
        pairs: Sentences and regions.
        mirrored: Region features of the mirror images, which take the place of those of the
            images in half of the cases. None leaves them out.
    """
    image_index = tf.constant(pairs.image_index, tf.int32)
    read = _view_reader(pairs.cache, mirrored, _FIELDS)

    def example(batch: Any) -> dict[str, tf.Tensor]:
        positions = batch if mirrored is None else batch["positions"]
        images = tf.gather(image_index, positions)
        return {
            **read(images, None if mirrored is None else batch["random"][:, 0]),
            "token_ids": _with_start_and_end(tf.gather(pairs.token_ids, positions)),
        }

    return mapped(batches, example)


def image_examples(
    batches: tf.data.Dataset, cache: FeatureCache, images: np.ndarray
) -> tf.data.Dataset:
    """Makes images without sentences, for `SelfCriticalModel.train_step`.

    Args:
        batches: Dictionaries of `epoch_batches` with positions in `images` and random numbers.
        cache: Region features of the images.
        images: Positions of images in the cache, int [I].
    """
    images = tf.constant(images, tf.int32)

    def example(batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        chosen = tf.gather(images, batch["positions"])
        regions = read_cached(cache, chosen, _FIELDS)
        return {**regions, "image_ids": chosen, "random": batch["random"]}

    return mapped(batches, example)


def caption_examples(
    batches: tf.data.Dataset,
    read_features: Callable[[np.ndarray], np.ndarray],
    feature_dim: int,
    token_ids: tf.RaggedTensor,
    *,
    mirrored: bool = False,
) -> tf.data.Dataset:
    """Makes pairs of a feature vector and a text, for `CaptionGenerator.train_step`.

    Args:
        batches: Positions of texts, int32 [B]; with `mirrored`, dictionaries of `epoch_batches`
            with one random number.
        read_features: Returns the CNN features [B, F] of the images or regions of the texts at
            some positions.
        feature_dim: Size F of a feature vector.
        token_ids: Token ids of the texts without START and END, int32 [S, (T)].
        mirrored: Whether half of the texts have the features at their position plus S instead,
            which are those of mirror images.
    """

    def example(batch: Any) -> dict[str, tf.Tensor]:
        positions = rows = batch
        if mirrored:
            positions = batch["positions"]
            rows = positions + token_ids.shape[0] * _are_mirrored(batch["random"][:, 0])
        features = tf.numpy_function(read_features, [rows], tf.float32, stateful=False)
        return {
            "image_features": tf.ensure_shape(features, [None, feature_dim]),
            "token_ids": _with_start_and_end(tf.gather(token_ids, positions)),
        }

    return mapped(batches, example)


def _with_start_and_end(token_ids: tf.RaggedTensor) -> tf.Tensor:
    """Token ids with START and END, padded to int32 [B, T], T >= 2 even if B is 0."""
    padded = with_start_and_end(token_ids).to_tensor(PAD_ID)
    return tf.pad(padded, [[0, 0], [0, tf.maximum(0, 2 - tf.shape(padded)[1])]])


def _are_mirrored(random: tf.Tensor) -> tf.Tensor:
    """1 for the examples whose image is mirrored, by a random number in [0, 1) of each, or 0."""
    return tf.cast(random < 0.5, tf.int32)


def _view_reader(
    cache: FeatureCache, mirrored: FeatureCache | None, fields: Sequence[str]
) -> Callable[[tf.Tensor, tf.Tensor | None], dict[str, tf.Tensor]]:
    """Makes a function that reads fields of images, or of their mirror images in half of the cases.

    Its arguments are the positions of images, int32 [B], and a random number in [0, 1) for each,
    which only decides if there are mirror images.
    """
    if mirrored is None:
        return lambda images, _: read_cached(cache, images, fields)
    views, count = Views(cache, mirrored), len(cache)
    return lambda images, random: read_cached(views, images + count * _are_mirrored(random), fields)


def read_cached(
    cache: FeatureCache | MapCache | Views, images: tf.Tensor, fields: Sequence[str]
) -> dict[str, tf.Tensor]:
    """Reads what a cache has of images, in graph.

    Args:
        cache: Regions, or maps of the CNN, of a split.
        images: Positions of images, int32 [B].
        fields: Names of fields of `Regions` or `Maps`.

    Returns:
        The fields by their names, each [B, ...].
    """
    example = cache.gather(np.zeros([1], np.int32))
    arrays = [np.asarray(getattr(example, name)) for name in fields]

    def read(images: np.ndarray) -> list[np.ndarray]:
        found = cache.gather(images)
        return [getattr(found, name) for name in fields]

    types = [array.dtype for array in arrays]
    values = tf.numpy_function(read, [images], types, stateful=False)
    return {
        name: tf.ensure_shape(value, [None, *array.shape[1:]])
        for name, value, array in zip(fields, values, arrays, strict=True)
    }


def mapped(
    batches: tf.data.Dataset, example: Callable[[Any], dict[str, tf.Tensor]]
) -> tf.data.Dataset:
    """Makes examples from batches in order, some of them ahead."""
    return prefetched(batches.map(example, num_parallel_calls=2, deterministic=True))
