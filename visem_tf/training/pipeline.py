"""Batches for training, in an order that depends on the seed and the epoch only.

An interrupted training resumes at any step with the batches that it would have seen without the
interruption, and several replicas together see the same batches as one. Features are read from the
cache batch by batch, so that memory does not grow with the data.
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
        part: For which replicas, see `shares`.
    """
    batches = tf.data.Dataset.range(num_examples, output_type=tf.int32).batch(batch_size)
    return shares(batches, part)


def shares(batches: tf.data.Dataset, part: Part) -> tf.data.Dataset:
    """Cuts every batch into the shares of the replicas of a process, one after the other.

    Args:
        batches: Dataset of tensors [B, ...], or of dictionaries of them.
        part: Whose shares to return; each of the R replicas gets a slice of every batch, and the
            sizes of the slices differ by at most one.
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
        mirrored: Region features of the same images turned over, which take the place of those of
            the images in half of the cases. None leaves them out.
    """
    image_index = tf.constant(pairs.image_index, tf.int32)
    cache: FeatureCache | Views = pairs.cache
    if mirrored is not None:
        cache = Views(pairs.cache, mirrored)

    def example(batch: Any) -> dict[str, tf.Tensor]:
        positions = batch["positions"] if alignment_draws(swaps, mirrored) else batch
        images = tf.gather(image_index, positions)
        views = images
        if mirrored is not None:
            views += len(pairs.cache) * _are_mirrored(batch["random"][:, -1])
        words = tf.gather(pairs.token_ids, positions).to_tensor(PAD_ID)
        examples = {
            **read_cached(cache, views, _FIELDS),
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
        mirrored: Region features of the same images turned over, which take the place of those of
            the images in half of the cases. None leaves them out.
    """
    counts = np.bincount(pairs.image_index, minlength=len(pairs.cache)).astype(np.int32)
    first = tf.constant(np.cumsum(counts) - counts, tf.int32)
    cache = pairs.cache if mirrored is None else Views(pairs.cache, mirrored)

    def example(batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        images, random = batch["positions"], batch["random"]
        views = images
        if mirrored is not None:
            views += len(pairs.cache) * _are_mirrored(random[:, 1])
        found = tf.gather(first, images), tf.gather(counts, images), random[:, 0]
        sentences = tf.reshape(choose_sentences(*found, number), [-1])
        return {
            **read_cached(cache, views, (*_FIELDS, "boxes", "scores")),
            "image_ids": images,
            "token_ids": tf.gather(pairs.token_ids, sentences).to_tensor(PAD_ID),
            "sentence_images": tf.repeat(images, number),
        }

    return mapped(batches, example)


def _are_mirrored(random: tf.Tensor) -> tf.Tensor:
    """1 for the examples whose image is turned over, by a random number in [0, 1) of each, or 0."""
    return tf.cast(random < 0.5, tf.int32)


def attention_examples(
    batches: tf.data.Dataset, pairs: Pairs, mirrored: FeatureCache | None = None
) -> tf.data.Dataset:
    """Makes pairs of an image and a sentence, for `AttentionGenerator.train_step`.

    Args:
        batches: Positions of sentences, int32 [B]; with `mirrored`, dictionaries of `epoch_batches`
            with one random number.
        pairs: Sentences and regions.
        mirrored: Region features of the same images turned over, which take the place of those of
            the images in half of the cases. None leaves them out.
    """
    image_index = tf.constant(pairs.image_index, tf.int32)
    cache = pairs.cache if mirrored is None else Views(pairs.cache, mirrored)

    def example(batch: Any) -> dict[str, tf.Tensor]:
        positions = batch if mirrored is None else batch["positions"]
        views = tf.gather(image_index, positions)
        if mirrored is not None:
            views += len(pairs.cache) * _are_mirrored(batch["random"][:, 0])
        return {
            **read_cached(cache, views, _FIELDS),
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
        feature_dim: F.
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
