"""End of stage align with `align.self_training_epochs`: trains words on the regions they choose.

The alignment, together with the CNN if that was trained, is complete; see
`visem_tf.alignment.self_training` for the loss. An epoch visits every training image once, with
some of its sentences. The epoch that ranks the validation split best is kept.
"""

from typing import Any

import tensorflow as tf

from visem_tf.errors import UserError
from visem_tf.models.alignment_model import AlignmentModel
from visem_tf.models.saving import load_model, save_model
from visem_tf.models.self_training import SelfTrainingModel
from visem_tf.runs.context import Context
from visem_tf.runs.phrase_grounding import configured_readout
from visem_tf.runs.starting import freeze_trained
from visem_tf.stages.features import mirrored_cache
from visem_tf.stages.training import open_pairs, recall_validation, train_model
from visem_tf.text import Vocabulary
from visem_tf.training.batches import Part, epoch_batches
from visem_tf.training.examples import images_with_sentences
from visem_tf.training.optimizers import make_optimizer


def check_data(context: Context) -> None:
    """Checks that images have several regions with boxes, which define the targets.

    Raises:
        UserError: They have none, or the whole image is the only region.
    """
    regions = context.data.splits["train"].regions
    if regions is None and context.config.regions.proposer == "none":
        raise UserError(
            "align.self_training_epochs trains words on the regions that they choose, and "
            "regions.proposer none has the whole image only; set it to 0 in another --run-dir"
        )
    if regions is not None and not regions.has_boxes:
        raise UserError(
            "align.self_training_epochs needs the boxes of regions, and these features came "
            "without them; set it to 0 in another --run-dir"
        )


def run(context: Context, vocabulary: Vocabulary) -> dict[str, Any]:
    """Trains the alignment model further, and returns the metrics of the best epoch.

    Args:
        context: Context of the run.
        vocabulary: Words of the run.
    """
    config = context.config
    settings = config.align.updated(
        {
            "batch_size": config.align.self_training_batch_size,
            "epochs": config.align.self_training_epochs,
            "learning_rate": config.align.self_training_rate,
            "patience": config.align.self_training_epochs,
            "optimizer": "adam",
            "schedule": "cosine",
            "warmup_steps": 0,
            "weight_decay": 0.0,
        }
    )
    pairs = open_pairs(context, vocabulary)
    mirrored = mirrored_cache(context, tuned=True) if settings.mirror else None
    num_images = len(context.data.splits["train"].image_ids)

    def build(steps_per_epoch: int) -> SelfTrainingModel:
        alignment = load_model(context.run.ranking_model, AlignmentModel)
        freeze_trained(config, alignment, "align")
        alignment.swap_weight = 0.0  # these batches have no false sentences
        readout = configured_readout(config)
        model = SelfTrainingModel(
            alignment, readout, vocabulary.content_words(), settings.self_training_weight
        )
        model.compile(optimizer=make_optimizer(settings, steps_per_epoch))
        return model

    def make_dataset(part: Part) -> tf.data.Dataset:
        batches = epoch_batches(
            num_images,
            settings.batch_size,
            seed=config.seed,
            epochs=settings.epochs,
            part=part,
            draws=2,
        )
        number = settings.self_training_sentences
        return images_with_sentences(batches, pairs["train"], number, mirrored)

    return train_model(
        context,
        "alignment by self-training",
        "self_training",
        settings=settings,
        rate_option="self_training_rate",
        seed=config.seed,
        num_examples=num_images,
        build=build,
        make_dataset=make_dataset,
        make_validation=lambda model: recall_validation(model.alignment, pairs["val"]),
        monitor="recall_sum",
        measure_before=True,
        save_best=lambda model, path: save_model(model.alignment, path),
    )
