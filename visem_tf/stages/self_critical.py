"""End of stage generate with `generate.cider_epochs`: trains full-frame generators on CIDEr-D.

The training starts from the generator that was trained on cross-entropy, and replaces it if it
describes the validation images better, by the CIDEr-D of greedy sentences.
"""

from typing import Any

import numpy as np
import tensorflow as tf

from visem_tf.decoding import greedy_search
from visem_tf.metrics.cider_reward import CiderReward
from visem_tf.runs.context import Context
from visem_tf.runs.generators import read_generator, title_of
from visem_tf.runs.model_files import cider_folder
from visem_tf.runs.starting import freeze_trained
from visem_tf.stages.training import train_model
from visem_tf.text import END_ID, PAD_ID, Vocabulary
from visem_tf.training.batches import Part, epoch_batches
from visem_tf.training.examples import Pairs, image_examples
from visem_tf.training.optimizers import make_optimizer
from visem_tf.training.resumable import Validation
from visem_tf.training.self_critical import SelfCriticalModel

_IMAGES_PER_BATCH = 128


def fine_tune(
    context: Context,
    pairs: dict[str, Pairs],
    vocabulary: Vocabulary,
    name: str,
    seed: int,
) -> dict[str, Any]:
    """Trains a generator on CIDEr-D; the epoch that describes the validation split best is kept.

    Args:
        context: Context of the run.
        pairs: Sentences and regions of the splits train and val.
        vocabulary: Words of the generator.
        name: Name of the generator, one of `visem_tf.runs.generators.member_names`.
        seed: Seed of the generator.
    """
    settings = context.config.generate
    path = context.run / "checkpoints" / "generate" / name / "best.keras"
    images = np.unique(pairs["train"].image_index)
    tuning = settings.updated(
        {
            "batch_size": settings.cider_batch_size,
            "epochs": settings.cider_epochs,
            "patience": settings.cider_patience,
            "learning_rate": settings.cider_learning_rate,
            "optimizer": "adam",
            "schedule": "constant",
            "warmup_steps": 0,
        }
    )

    def build(steps_per_epoch: int) -> SelfCriticalModel:
        generator = read_generator(path, settings, name)
        freeze_trained(context.config, generator, name)
        model = SelfCriticalModel(
            generator,
            _reward(pairs["train"], vocabulary, end=True),
            settings.cider_samples,
            settings.max_length,
            settings.cider_temperature,
        )
        model.compile(optimizer=make_optimizer(tuning, steps_per_epoch))
        return model

    def make_dataset(part: Part) -> tf.data.Dataset:
        batches = epoch_batches(
            len(images),
            tuning.batch_size,
            seed=seed,
            epochs=tuning.epochs,
            part=part,
            draws=settings.cider_samples * settings.max_length,
        )
        return image_examples(batches, pairs["train"].cache, images)

    title, checkpoints = f"{title_of(name)} on CIDEr", f"generate/{cider_folder(name)}"
    summary = train_model(
        context,
        title,
        checkpoints,
        settings=tuning,
        rate_option="cider_learning_rate",
        seed=seed,
        num_examples=len(images),
        build=build,
        make_dataset=make_dataset,
        make_validation=lambda model: _validation(model, pairs["val"], vocabulary),
        monitor="val_cider",
        measure_before=True,
    )
    if summary["val_cider"] <= summary["val_cider_before"] and context.is_chief:
        (context.run / "checkpoints" / checkpoints / "best.keras").unlink(missing_ok=True)
        print(f"{title}: no epoch was better; the generator remains unchanged")
    return summary


def _reward(pairs: Pairs, vocabulary: Vocabulary, *, end: bool) -> CiderReward:
    """Scores with the sentences of a split as references; `end` counts END as their last word."""
    token_ids = pairs.token_ids
    if end:
        ends = tf.fill([token_ids.nrows(), 1], END_ID)
        token_ids = tf.concat([token_ids, ends], axis=1)
    references = token_ids.to_tensor(PAD_ID).numpy()
    return CiderReward(references, pairs.image_index, len(vocabulary))


def _validation(model: SelfCriticalModel, pairs: Pairs, vocabulary: Vocabulary) -> Validation:
    """Makes the function that computes the CIDEr-D of greedy sentences of a split, in percent."""
    generator, max_length = model.generator, model.max_length
    reward = _reward(pairs, vocabulary, end=False)
    all_images = np.unique(pairs.image_index)
    search = tf.function(
        lambda inputs: greedy_search(generator, inputs, max_length)[0],
        input_signature=[generator.input_specs()],
    )

    def validate() -> dict[str, float]:
        scores = []
        for start in range(0, len(all_images), _IMAGES_PER_BATCH):
            images = all_images[start : start + _IMAGES_PER_BATCH]
            regions = pairs.cache.gather(images)
            inputs = generator.inputs_of_images(regions.region_features, regions.region_mask)
            token_ids = search(tf.nest.map_structure(tf.constant, inputs)).numpy()
            scores.append(reward(np.where(token_ids == END_ID, PAD_ID, token_ids), images))
        return {"val_cider": 100.0 * float(np.mean(np.concatenate(scores)))}

    return validate
