"""End of stage align with `align.finetune_epochs`: trains the CNN together with the alignment.

An epoch visits every training image once, with some of its sentences; every step extracts the
features of the regions from the pixels again, at the boxes of the cached features. With
`align.mirror`, half of the images are mirrored. If the trained CNN ranks the validation split
better than the pretrained one, it replaces it: the features of all images are then extracted
again, and later commands use the new CNN for this run.
"""

import functools
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from visem_tf.errors import UserError
from visem_tf.images.decode import decode_image
from visem_tf.images.prepare import place_images
from visem_tf.models.alignment_model import AlignmentModel
from visem_tf.models.finetuning import FinetuningModel
from visem_tf.models.saving import load_model, save_model
from visem_tf.regions.backbone import Backbone, TrainableCNN, load_backbone
from visem_tf.regions.dataset_cache import FeatureCache, Views
from visem_tf.regions.extractor import RegionExtractor, prepared_batches
from visem_tf.runs.context import Context
from visem_tf.runs.scoring import Scorer, recalls
from visem_tf.runs.starting import freeze_trained
from visem_tf.runtime.workers import barrier
from visem_tf.stages import features
from visem_tf.stages.features import mirrored_cache
from visem_tf.stages.training import open_pairs, train_model
from visem_tf.text import PAD_ID, Vocabulary
from visem_tf.training.batches import Part, shares
from visem_tf.training.examples import Pairs, choose_sentences, mapped, read_cached
from visem_tf.training.optimizers import TwoRatesAdam, WarmupSchedule
from visem_tf.training.resumable import Validation

_SHUFFLE_BUFFER = 1000  # encoded images


def check_data(context: Context) -> None:
    """Checks that the data set has images.

    Raises:
        UserError: Its features come without them.
    """
    if context.data.splits["train"].regions is not None:
        raise UserError(
            "align.finetune_epochs trains the CNN on images, and these features came without "
            "them; set it to 0 in another --run-dir"
        )


def run(context: Context, vocabulary: Vocabulary) -> dict[str, Any]:
    """Trains the CNN and the trained alignment model.

    Args:
        context: Context of the run.
        vocabulary: Words of the run.
    """
    config = context.config
    settings, split = config.align, context.data.splits["train"]
    pairs = open_pairs(context, vocabulary, tuned=False)
    mirrored = mirrored_cache(context, tuned=False) if settings.mirror else None
    folder = context.run / "checkpoints" / "finetune"
    best_cnn = folder / "best-cnn.npz"
    # Outside of the scope of the strategy, in which all workers must create the same variables:
    # a worker that has extracted features has loaded it before.
    backbone = load_backbone(config.regions.backbone)

    def build(steps_per_epoch: int) -> FinetuningModel:
        model = _build(context, backbone)
        steps = settings.finetune_epochs * steps_per_epoch
        model.compile(
            optimizer=TwoRatesAdam(
                WarmupSchedule(settings.finetune_align_rate, 0, steps),
                factor=settings.finetune_learning_rate / settings.finetune_align_rate,
                slow_variables=len(model.cnn.trainable_variables),
            )
        )
        return model

    def save_best(model: FinetuningModel, path: Path) -> None:
        model.cnn.write(path.with_name(best_cnn.name))
        save_model(model.alignment, path)  # last, because its file marks both as complete

    tuning = settings.updated(
        {
            "batch_size": settings.finetune_batch_size,
            "epochs": settings.finetune_epochs,
            "patience": settings.finetune_epochs,
            "schedule": "cosine",
        }
    )
    summary = train_model(
        context,
        "alignment with the CNN",
        "finetune",
        settings=tuning,
        rate_option="finetune_learning_rate",
        seed=config.seed,
        num_examples=len(split.image_ids),
        build=build,
        make_dataset=lambda part: _examples(context, pairs["train"], mirrored, part),
        make_validation=lambda model: _validation(context, model, pairs["val"]),
        monitor="recall_sum",
        measure_before=True,
        save_best=save_best,
    )
    better = summary["recall_sum"] > summary["recall_sum_before"]
    if context.is_chief:
        if not better:
            best_cnn.unlink(missing_ok=True)
            print("alignment with the CNN: no epoch was better; the CNN remains unchanged")
        elif best_cnn.exists():  # False if a resumed run was interrupted after the renaming.
            best_cnn.replace(folder / "cnn.npz")
    barrier(context.strategy)
    if better:
        features.run(context)
    return summary


def _build(context: Context, backbone: Backbone) -> FinetuningModel:
    """Puts the trained alignment model on a CNN whose last blocks are trainable."""
    settings = context.config.regions
    path = context.run / "checkpoints" / "align" / "best.keras"
    alignment = load_model(path, AlignmentModel)
    freeze_trained(context.config, alignment, "align")
    alignment.swap_weight = 0.0  # these batches have no false sentences
    extractor = RegionExtractor(settings.updated({"proposer": "none"}))
    cnn = TrainableCNN(backbone, context.config.align.finetune_from)
    return FinetuningModel(alignment, cnn, extractor)


def _examples(
    context: Context, pairs: Pairs, mirrored: FeatureCache | None, part: Part
) -> tf.data.Dataset:
    """Makes batches of pixels, boxes and some sentences of every image, from a part on.

    The order, the sentences and which images are mirrored depend on the seed and the epoch only.
    """
    config, split = context.config, context.data.splits["train"]
    cache, token_ids, image_index = pairs
    count, views = len(split.image_ids), cache if mirrored is None else Views(cache, mirrored)
    first = tf.constant(split.first_sentences, tf.int32)
    sentences = tf.constant(np.bincount(image_index, minlength=count), tf.int32)
    images = tf.data.Dataset.zip(
        tf.data.Dataset.range(count, output_type=tf.int32), split.pictures()
    )
    regions = config.regions

    def epoch(number: int) -> tf.data.Dataset:
        # Datasets shuffle by a seed that is fixed when they are made, hence one for each epoch.
        seed = int(np.random.SeedSequence([config.seed, number]).generate_state(1)[0] >> 1)

        def choose(image: tf.Tensor, encoded: tf.Tensor) -> dict[str, tf.Tensor]:
            start, side = tf.unstack(tf.random.stateless_uniform([2], seed=tf.stack([seed, image])))
            number = config.align.finetune_sentences
            return {
                "encoded": encoded,
                "image_ids": image,
                "is_mirrored": side < 0.5 if mirrored is not None else False,
                "sentences": choose_sentences(first[image], sentences[image], start, number),
            }

        shuffled = images.shuffle(_SHUFFLE_BUFFER, seed=seed, reshuffle_each_iteration=False)
        return shuffled.map(choose).batch(config.align.finetune_batch_size)

    def prepare(image: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        encoded, is_mirrored = image
        pixels = decode_image(encoded)
        pixels = tf.where(is_mirrored, tf.reverse(pixels, [1]), pixels)
        return place_images(pixels, regions.picture_size, regions.resolution)

    def example(batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        images, is_mirrored = batch["image_ids"], batch["is_mirrored"]
        pixels = tf.map_fn(prepare, (batch["encoded"], is_mirrored), fn_output_signature=tf.float32)
        size = regions.picture_size
        words = tf.gather(token_ids, tf.reshape(batch["sentences"], [-1]))
        positions = images + count * tf.cast(is_mirrored, tf.int32)
        return {
            "image_ids": images,
            **read_cached(views, positions, ("boxes", "region_mask")),
            "pixels": tf.ensure_shape(pixels, [None, size, size, 3]),
            "token_ids": words.to_tensor(PAD_ID),
            "sentence_images": tf.repeat(images, config.align.finetune_sentences),
        }

    epochs = [epoch(number) for number in range(part.epoch, config.align.finetune_epochs)]
    joined = functools.reduce(tf.data.Dataset.concatenate, epochs).skip(part.step)
    # Every worker reads all images, and decodes only those of its replicas.
    return mapped(shares(joined, part), example)


def _validation(context: Context, model: FinetuningModel, pairs: Pairs) -> Validation:
    """Makes the function that computes the recalls of the validation split from its pixels."""
    settings, (cache, token_ids, image_index) = context.config.regions, pairs
    scorer = Scorer(model.alignment)
    embed = tf.function(model.region_embeddings, reduce_retracing=True)

    pixels = prepared_batches(context.data.splits["val"].pictures(), settings)

    def validate() -> dict[str, float]:
        images = []
        for batch, (_, regions) in zip(pixels, cache.batches(settings.batch_size), strict=True):
            embeddings = embed(batch, tf.constant(regions.boxes))
            images.append((embeddings, tf.constant(regions.region_mask)))
        return recalls(scorer.of_blocks(images, token_ids), image_index)

    return validate
