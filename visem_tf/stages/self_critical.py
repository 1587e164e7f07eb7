"""The end of the stage generate, where asked for: the full-frame generator, trained on CIDEr.

It starts from the generator that was trained on likelihood, and takes its place if it describes the
validation pictures better (CIDEr-D of greedy sentences).
"""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from visem_tf.decoding import greedy_search
from visem_tf.metrics.cider_reward import CiderReward
from visem_tf.models.sentence_generator import SentenceGenerator
from visem_tf.regions.dataset_cache import FeatureCache
from visem_tf.report.previews import record
from visem_tf.runs.context import Context
from visem_tf.runs.generators import cider_folder, read_generator, title_of
from visem_tf.runs.scoring import sentence_token_ids
from visem_tf.runtime.devices import set_seed
from visem_tf.text import END_ID, PAD_ID, Vocabulary
from visem_tf.training.loop import Progress, train
from visem_tf.training.optimizers import make_optimizer
from visem_tf.training.pipeline import Part, epoch_batches, picture_examples
from visem_tf.training.self_critical import SelfCritical

_PICTURES_AT_A_TIME = 128


def fine_tune(
    context: Context,
    caches: dict[str, FeatureCache],
    vocabulary: Vocabulary,
    name: str,
    seed: int,
) -> dict[str, Any]:
    """Trains on CIDEr; the epoch that describes the validation split best is kept.

    Args:
      context: Of the run.
      caches: Features of the splits train and val.
      vocabulary: The generator's words.
      name: Of `visem_tf.runs.generators.member_names`.
      seed: The generator's.
    """
    settings = context.config.generate
    folder = context.run / "checkpoints" / "generate"
    pictures = np.unique(context.data.splits["train"].image_index)
    tuning = settings.updated(
        {
            "epochs": settings.cider_epochs,
            "patience": settings.cider_epochs,
            "learning_rate": settings.cider_learning_rate,
            "optimizer": "adam",
            "schedule": "constant",
            "warmup_steps": 0,
        }
    )
    steps_per_epoch = -(-len(pictures) // settings.cider_batch_size)
    set_seed(seed)
    with context.strategy.scope():
        generator = read_generator(folder / name / "best.keras", settings, name)
        model = SelfCritical(
            generator,
            _reward(context, "train", vocabulary, end=True),
            settings.cider_samples,
            settings.max_length,
        )
        model.compile(optimizer=make_optimizer(tuning, steps_per_epoch))
    validate = _Validation(context, generator, caches["val"], vocabulary)
    before = validate(model)["val_cider"]
    label = f"generate {name} on CIDEr"
    print(f"{label}: val_cider {before:.2f} before it begins")
    progress = Progress(
        folder / cider_folder(name),
        tuning,
        validate,
        "val_cider",
        larger_is_better=True,
        seed=seed,
        name=label,
    )

    def batches(part: Part) -> tf.data.Dataset:
        positions = epoch_batches(
            len(pictures),
            settings.cider_batch_size,
            seed=seed,
            epochs=settings.cider_epochs,
            part=part,
        )
        return picture_examples(positions, caches["train"], pictures)

    callbacks = [record(context, f"{title_of(name)} on CIDEr", len(pictures), steps_per_epoch)]
    train(model, batches, steps_per_epoch, progress, callbacks)
    best = progress.history[progress.best_epoch]
    if best["val_cider"] <= before:
        progress.best_path.unlink(missing_ok=True)
        print(f"{label}: no epoch was better; the generator stays as it was")
    return {
        "epochs": len(progress.history),
        "best_epoch": progress.best_epoch + 1,
        "val_cider_before": before,
        **best,
    }


def _reward(context: Context, split: str, vocabulary: Vocabulary, *, end: bool) -> CiderReward:
    """Scores against the sentences of a split; with END as a word, a sentence must be whole."""
    data = context.data.splits[split]
    token_ids = sentence_token_ids(vocabulary, data.sentences, context.config.text.max_words)
    if end:
        ends = tf.fill([token_ids.nrows(), 1], END_ID)
        token_ids = tf.concat([token_ids, ends], axis=1)
    references = token_ids.to_tensor(PAD_ID).numpy()
    return CiderReward(references, data.image_index, len(vocabulary))


class _Validation:
    """CIDEr-D of the greedy sentences of the validation split, in the scorer's percent."""

    def __init__(
        self,
        context: Context,
        generator: SentenceGenerator,
        cache: FeatureCache,
        vocabulary: Vocabulary,
    ) -> None:
        self.generator = generator
        self.cache = cache
        self.reward = _reward(context, "val", vocabulary, end=False)
        self.pictures = np.unique(context.data.splits["val"].image_index)
        max_length = context.config.generate.max_length
        self.search = tf.function(
            lambda inputs: greedy_search(generator, inputs, max_length)[0],
            input_signature=[generator.input_specs()],
        )

    def __call__(self, model: keras.Model) -> dict[str, float]:
        scores = []
        for start in range(0, len(self.pictures), _PICTURES_AT_A_TIME):
            pictures = self.pictures[start : start + _PICTURES_AT_A_TIME]
            regions = self.cache.gather(pictures)
            inputs = self.generator.inputs_of_pictures(regions.region_features, regions.region_mask)
            token_ids = self.search(tf.nest.map_structure(tf.constant, inputs)).numpy()
            scores.append(self.reward(np.where(token_ids == END_ID, PAD_ID, token_ids), pictures))
        return {"val_cider": 100.0 * float(np.mean(np.concatenate(scores)))}
