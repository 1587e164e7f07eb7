"""The end of the stage align, where it is asked for: the CNN is trained with the alignment.

Every epoch goes once over the training pictures, each with one of its sentences; regions are cut
out of the pixels and described in every step, at the boxes that the features had. What comes of it
takes the place of the pretrained CNN if it ranks the validation split better: all features are then
computed anew, and whoever describes a picture for this run uses the new CNN.
"""

import functools
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from visem_tf.errors import UserError
from visem_tf.images.prepare import prepare_image
from visem_tf.models.alignment_model import AlignmentModel
from visem_tf.models.finetuning import FinetuningModel
from visem_tf.models.saving import load_model, save_model
from visem_tf.regions.backbone import TrainableCNN, load_backbone
from visem_tf.regions.dataset_cache import FeatureCache
from visem_tf.regions.extractor import RegionExtractor
from visem_tf.report.previews import record
from visem_tf.runs.context import Context
from visem_tf.runs.scoring import Scorer, recalls, sentence_token_ids
from visem_tf.runtime.devices import set_seed
from visem_tf.stages import features
from visem_tf.stages.features import open_cache
from visem_tf.text import PAD_ID, Vocabulary
from visem_tf.training.loop import Progress, train
from visem_tf.training.optimizers import TwoRatesAdam, WarmupSchedule
from visem_tf.training.pipeline import Part, shares

_SHUFFLED = 1000  # encoded pictures in memory


class _FinetuneProgress(Progress):
    """Saves the alignment and, beside it, the CNN that it belongs to."""

    @property
    def cnn_path(self) -> Path:
        """The CNN of the best epoch."""
        return self.folder / "best-cnn.npz"

    def save_best(self) -> None:
        """Saves both; the alignment last, which tells that the other is there."""
        self.model.cnn.write(self.cnn_path)
        save_model(self.model.alignment, self.best_path)


def run(context: Context, vocabulary: Vocabulary) -> dict[str, Any]:
    """Trains the CNN with the alignment that was trained before."""
    config = context.config
    settings, split = config.align, context.data.splits["train"]
    if split.regions is not None:
        raise UserError(
            "align.finetune_epochs trains the CNN on pictures, and these features came without them"
        )
    caches = {name: open_cache(context, name, tuned=False) for name in ("train", "val")}
    token_ids = sentence_token_ids(vocabulary, split.sentences, config.text.max_words)
    steps_per_epoch = -(-len(split.image_ids) // settings.finetune_batch_size)
    tuning = settings.updated(
        {
            "epochs": settings.finetune_epochs,
            "patience": settings.finetune_epochs,
            "schedule": "cosine",
        }
    )
    set_seed(config.seed)
    with context.strategy.scope():
        model = _model(context)
        steps = settings.finetune_epochs * steps_per_epoch
        model.compile(
            optimizer=TwoRatesAdam(
                WarmupSchedule(settings.finetune_align_rate, 0, steps),
                factor=settings.finetune_learning_rate / settings.finetune_align_rate,
                slow_variables=len(model.cnn.trainable_variables),
            )
        )
    validate = _Validation(context, model, caches["val"], vocabulary)
    before = validate(model)["recall_sum"]
    progress = _FinetuneProgress(
        context.run / "checkpoints" / "finetune",
        tuning,
        validate,
        "recall_sum",
        larger_is_better=True,
        seed=config.seed,
        name="align with the CNN",
    )

    def batches(part: Part) -> tf.data.Dataset:
        return _examples(context, caches["train"], token_ids, part)

    title, count = "alignment with the CNN", len(split.image_ids)
    callbacks = [record(context, title, count, steps_per_epoch)]
    train(model, batches, steps_per_epoch, progress, callbacks)
    best = progress.history[progress.best_epoch]
    if best["recall_sum"] > before:
        if progress.cnn_path.exists():  # otherwise an interrupted run was here before
            progress.cnn_path.replace(progress.folder / "cnn.npz")
        features.run(context)
    else:
        progress.cnn_path.unlink(missing_ok=True)
        print("align with the CNN: no epoch was better; the CNN stays as it was")
    return {
        "epochs": len(progress.history),
        "best_epoch": progress.best_epoch + 1,
        "recall_sum_before": before,
        **best,
    }


def _model(context: Context) -> FinetuningModel:
    """The trained alignment on a CNN that can be trained in part."""
    settings = context.config.regions
    path = context.run / "checkpoints" / "align" / "best.keras"
    alignment = load_model(path, AlignmentModel)
    extractor = RegionExtractor(settings.updated({"proposer": "none"}))
    cnn = TrainableCNN(load_backbone(settings.backbone), context.config.align.finetune_from)
    return FinetuningModel(alignment, cnn, extractor)


def _examples(
    context: Context, cache: FeatureCache, token_ids: tf.RaggedTensor, part: Part
) -> tf.data.Dataset:
    """Batches of pixels, boxes and one sentence of every picture, from a part on.

    What comes when depends on the seed and the epoch alone.
    """
    config, split = context.config, context.data.splits["train"]
    count = len(split.image_ids)
    first = tf.constant(np.searchsorted(split.image_index, np.arange(count)), tf.int32)
    sentences = tf.constant(np.bincount(split.image_index, minlength=count), tf.int32)
    pictures = tf.data.Dataset.zip(
        tf.data.Dataset.range(count, output_type=tf.int32), split.pictures()
    )
    regions = config.regions

    def prepared(seed: int, image: tf.Tensor, encoded: tf.Tensor) -> dict[str, tf.Tensor]:
        drawn = tf.random.stateless_uniform([], seed=tf.stack([seed, image]))
        number = tf.cast(drawn * tf.cast(sentences[image], tf.float32), tf.int32)
        return {
            "pixels": prepare_image(encoded, regions.picture_size, regions.resolution),
            "image_ids": image,
            "sentence": first[image] + tf.minimum(number, sentences[image] - 1),
        }

    def epoch(number: int) -> tf.data.Dataset:
        # Datasets shuffle by numbers that are known when they are made, hence one an epoch.
        seed = int(np.random.SeedSequence([config.seed, number]).generate_state(1)[0] >> 1)
        shuffled = pictures.shuffle(_SHUFFLED, seed=seed, reshuffle_each_iteration=False)
        return shuffled.map(
            lambda image, encoded: prepared(seed, image, encoded),
            num_parallel_calls=2,
            deterministic=True,
        ).batch(config.align.finetune_batch_size)

    def with_regions(batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        words = tf.gather(token_ids, batch.pop("sentence"))
        return {**batch, **_boxes(cache, batch["image_ids"]), "token_ids": words.to_tensor(PAD_ID)}

    epochs = [epoch(number) for number in range(part.epoch, config.align.finetune_epochs)]
    joined = functools.reduce(tf.data.Dataset.concatenate, epochs).skip(part.step)
    return shares(joined, part).map(with_regions).prefetch(2)


def _boxes(cache: FeatureCache, images: tf.Tensor) -> dict[str, tf.Tensor]:
    """The boxes of pictures int32 [B], from the cache."""

    def read(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        regions = cache.gather(images)
        return regions.boxes, regions.region_mask

    boxes, mask = tf.numpy_function(read, [images], (tf.float32, tf.bool), stateful=False)
    return {
        "boxes": tf.ensure_shape(boxes, [None, cache.num_regions, 4]),
        "region_mask": tf.ensure_shape(mask, [None, cache.num_regions]),
    }


class _Validation:
    """Recalls of the validation split, from its pixels."""

    def __init__(
        self, context: Context, model: FinetuningModel, cache: FeatureCache, vocabulary: Vocabulary
    ) -> None:
        config, self.split = context.config, context.data.splits["val"]
        regions = config.regions
        self.cache = cache
        self.token_ids = sentence_token_ids(vocabulary, self.split.sentences, config.text.max_words)
        self.scorer = Scorer(model.alignment)
        self.pictures = (
            self.split.pictures()
            .map(
                lambda encoded: prepare_image(encoded, regions.picture_size, regions.resolution),
                num_parallel_calls=2,
            )
            .batch(regions.batch_size)
            .prefetch(1)
        )
        self.embed = tf.function(model.region_embeddings, reduce_retracing=True)

    def __call__(self, model: keras.Model) -> dict[str, float]:
        images, start = [], 0
        for pixels in self.pictures:
            regions = self.cache.gather(np.arange(start, start + len(pixels)))
            embeddings = self.embed(pixels, tf.constant(regions.boxes))
            images.append((embeddings, tf.constant(regions.region_mask)))
            start += len(pixels)
        return recalls(self.scorer.of_blocks(images, self.token_ids), self.split.image_index)
