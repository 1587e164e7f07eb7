"""Stage propose: trains a proposer of regions on the boxes of a data set (section 3.1.1).

The paper takes its regions from a detector that was trained on boxes of other images. Here the
boxes of all phrases of the training split teach one, without the words of the phrases.
"""

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from visem_tf.datasets.caption_dataset import Split
from visem_tf.errors import UserError
from visem_tf.images.decode import decode_image
from visem_tf.images.views import boxes_in_view, random_view, show_view
from visem_tf.metrics.proposals import best_overlaps
from visem_tf.models.proposal_training import ProposalTraining
from visem_tf.regions.backbone import Maps, load_backbone, weights_digest
from visem_tf.regions.box_network import BoxNetwork, select_boxes, write_network
from visem_tf.regions.extractor import FRAME
from visem_tf.regions.map_cache import MapCache
from visem_tf.runs.context import Context
from visem_tf.runtime.storage import as_path
from visem_tf.runtime.working_copy import working_copy
from visem_tf.stages.training import train_model
from visem_tf.training.batches import Part, epoch_batches
from visem_tf.training.examples import mapped, read_cached
from visem_tf.training.optimizers import make_optimizer
from visem_tf.training.resumable import Validation

ALL_WORKERS = True

_MIN_VISIBLE = 0.4


def run(context: Context) -> dict[str, Any]:
    """Trains a proposer.

    Raises:
        UserError: If the data set has no images, or no boxes to train and validate with.
    """
    config, data = context.config, context.data
    settings = config.propose
    for name in ("train", "val"):
        _check_boxes(data.name, data.splits[name])
    train = _Views(context, data.splits["train"], settings.views)
    val = _Views(context, data.splits["val"], 1)
    for views in (train, val):
        views.fill()

    def build(steps_per_epoch: int) -> ProposalTraining:
        backbone = load_backbone(config.regions.maps_backbone)
        network = BoxNetwork(backbone.map_channels, settings.channels, settings.head_blocks)
        model = ProposalTraining(network, settings.clip_value)
        model.compile(optimizer=make_optimizer(settings, steps_per_epoch))
        return model

    def save_best(model: ProposalTraining, path: Path) -> None:
        write_network(
            model.network,
            path.with_name("proposer.npz"),
            config.regions.maps_backbone,
            dataset=data.name,
            picture_size=config.regions.picture_size,
        )

    return train_model(
        context,
        "proposer",
        "propose",
        settings=settings,
        seed=config.seed,
        num_examples=len(train.with_boxes),
        build=build,
        make_dataset=lambda part: _examples(context, train, part),
        make_validation=lambda model: _validation(context, model, val),
        monitor="recall",
        save_best=save_best,
    )


def _check_boxes(dataset: str, split: Split) -> None:
    if split.regions is not None:
        raise UserError(
            f"propose.epochs needs images, and the data set {dataset} has features only; choose "
            "another data set, or leave it 0"
        )
    if split.phrases is None or not len(split.phrases.boxes):
        raise UserError(
            f"propose.epochs needs boxes of phrases, and the data set {dataset} has none in its "
            f"split {split.name}; choose another data set, or leave it 0 to use the proposer in "
            "the package"
        )


def boxes_of_images(split: Split) -> tf.RaggedTensor:
    """Returns the different boxes of the phrases of each image, float [I, (G), 4].

    Args:
        split: Split with I images and with phrases.
    """
    phrases = split.phrases
    assert phrases is not None
    images = split.image_index[phrases.sentence_index]
    rows = np.unique(np.column_stack([images, np.round(phrases.boxes, 4)]), axis=0)
    counts = np.bincount(rows[:, 0].astype(int), minlength=len(split.image_ids))
    return tf.RaggedTensor.from_row_lengths(rows[:, 1:].astype(np.float32), counts)


class _Views:
    """Views of the images of a split: their maps, and the boxes in them.

    View 0 of an image is the image, and the others are random parts of it. View v of image i has
    the position v I + i.

    Args:
        context: Context of the run.
        split: Split with I images.
        count: Number of views of each image.
    """

    def __init__(self, context: Context, split: Split, count: int) -> None:
        boxes = boxes_of_images(split)
        self.config = context.config
        self.split = split
        self.num_images = len(split.image_ids)
        self.count = count
        self.boxes = boxes.to_tensor(shape=[None, None, 4])
        self.box_mask = tf.sequence_mask(boxes.row_lengths())
        regions = self.config.regions
        key = {
            "pictures": split.picture_digest,
            "weights": weights_digest(regions.maps_backbone),
            "picture_size": regions.picture_size,
            "views": count,
            "min_view": self.config.propose.min_view,
            "seed": self.config.seed,
        }
        has_boxes = tf.tile(boxes.row_lengths() > 0, [count])
        self.with_boxes = tf.cast(tf.where(has_boxes)[:, 0], tf.int32)
        folder = working_copy(as_path(self.config.cache_dir) / "maps")
        self.maps = MapCache(folder, key, count * self.num_images)

    def fill(self) -> None:
        """Computes the maps that are missing."""
        regions = self.config.regions
        backbone = load_backbone(regions.maps_backbone)
        label = f"maps of {self.split.name}"
        self.maps.fill(self._pixels, backbone, regions.batch_size, label)

    def _pixels(self, start: int) -> tf.data.Dataset:
        """The pixels of all views from a position on."""
        size = self.config.regions.picture_size

        def show(position: tf.Tensor, encoded: tf.Tensor) -> tf.Tensor:
            return show_view(decode_image(encoded), self._view(position), size)

        first, skipped = divmod(start, self.num_images)
        images = self.split.pictures().repeat(self.count - first).skip(skipped)
        positions = tf.data.Dataset.range(start, self.count * self.num_images, output_type=tf.int32)
        return tf.data.Dataset.zip(positions, images).map(
            show, num_parallel_calls=2, deterministic=True
        )

    def _view(self, position: tf.Tensor) -> tf.Tensor:
        seed = tf.stack([tf.constant(self.config.seed % 2**31, tf.int32), position])
        part = random_view(seed, self.config.propose.min_view)
        return tf.where(position < self.num_images, tf.constant(FRAME), part)

    def examples(self, positions: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns the entries of `ProposalTraining.train_step` for positions int32 [B]."""
        images = positions % self.num_images
        views = tf.map_fn(self._view, positions, fn_output_signature=tf.float32)
        box_mask = tf.gather(self.box_mask, images)
        most = tf.reduce_max(tf.reduce_sum(tf.cast(box_mask, tf.int32), axis=1))
        boxes, kept = boxes_in_view(
            tf.gather(self.boxes, images)[:, :most], views[:, tf.newaxis], _MIN_VISIBLE
        )
        maps = read_cached(self.maps, positions, Maps._fields)
        return {**maps, "boxes": boxes, "box_mask": kept & box_mask[:, :most]}


def _examples(context: Context, views: _Views, part: Part) -> tf.data.Dataset:
    """Makes batches of all views of the images that have boxes."""
    settings = context.config.propose
    batches = epoch_batches(
        len(views.with_boxes),
        settings.batch_size,
        seed=context.config.seed,
        epochs=settings.epochs,
        part=part,
    )
    return mapped(batches, lambda chosen: views.examples(tf.gather(views.with_boxes, chosen)))


def _validation(context: Context, model: ProposalTraining, views: _Views) -> Validation:
    """Makes the function that computes the recall of the boxes of the validation split."""
    settings = context.config.regions
    propose = tf.function(
        lambda maps: select_boxes(model.network(Maps(*maps)), settings.num_regions - 1),
        reduce_retracing=True,
    )
    image, place = np.nonzero(views.box_mask)
    boxes = views.boxes.numpy()[image, place]

    def validate() -> dict[str, float]:
        found = [
            propose(views.maps.gather(positions))
            for positions in np.array_split(
                np.arange(views.num_images), -(-views.num_images // settings.batch_size)
            )
        ]
        proposed, _, mask = (np.concatenate(part) for part in zip(*found, strict=True))
        frames = np.broadcast_to(np.array(FRAME, np.float32), [len(proposed), 1, 4])
        overlaps = best_overlaps(
            np.concatenate([frames, proposed], axis=1),
            np.pad(mask, [(0, 0), (1, 0)], constant_values=True),
            boxes,
            image,
            settings.num_regions,
        )
        half, most = (100.0 * float(np.mean(overlaps >= iou)) for iou in (0.5, 0.7))
        return {"recall_50": half, "recall_70": most, "recall": (half + most) / 2}

    return validate
