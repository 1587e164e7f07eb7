"""Training of a model in any stage: data, devices, seeds, checkpoints, and TensorBoard."""

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from visem_tf.config import TrainingConfig
from visem_tf.models.alignment_model import AlignmentModel
from visem_tf.models.precision import training_precision
from visem_tf.models.saving import save_model
from visem_tf.runs.context import Context
from visem_tf.runs.scoring import Scorer, recalls, sentence_token_ids
from visem_tf.runtime.devices import set_seed
from visem_tf.runtime.workers import barrier, broadcast_from_chief
from visem_tf.stages.features import open_cache
from visem_tf.text import Vocabulary
from visem_tf.training.batches import Part
from visem_tf.training.examples import Pairs
from visem_tf.training.resumable import ResumableTraining, Validation
from visem_tf.training.tensorboard import Recorder


def open_pairs(context: Context, vocabulary: Vocabulary, *, tuned: bool = True) -> dict[str, Pairs]:
    """Returns the sentences and regions of the splits train and val.

    Args:
        context: Context of the run.
        vocabulary: Words of the run.
        tuned: Whether the features are those of the CNN that the run has trained, if it has.
    """
    pairs, max_words = {}, context.config.text.max_words
    for name in ("train", "val"):
        cache, split = open_cache(context, name, tuned=tuned), context.data.splits[name]
        token_ids = sentence_token_ids(vocabulary, split.sentences, max_words)
        pairs[name] = Pairs(cache, token_ids, split.image_index)
    return pairs


def recall_validation(model: AlignmentModel, pairs: Pairs) -> Validation:
    """Makes the function that computes the recalls of a model on a split."""
    scorer = Scorer(model)
    return lambda: recalls(scorer(pairs.cache, pairs.token_ids), pairs.image_index)


def warn_if_collapsed(summaries: Sequence[Mapping[str, Any]]) -> None:
    """Warns if an alignment gives all images and sentences the same score.

    Args:
        summaries: What `train_model` returned for each alignment.
    """
    if any(summary["collapsed"] > 0.5 for summary in summaries):
        print(
            "visem_tf: warning: the alignment has collapsed: all images and sentences get the "
            "same score; try a smaller --align.learning_rate",
            file=sys.stderr,
        )


def train_model(
    context: Context,
    title: str,
    folder: str,
    *,
    settings: TrainingConfig,
    seed: int,
    num_examples: int,
    build: Callable[[int], keras.Model],
    make_dataset: Callable[[Part], tf.data.Dataset],
    make_validation: Callable[[keras.Model], Validation],
    monitor: str,
    precision: str = "float32",
    measure_before: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    save_best: Callable[[keras.Model, Path], None] = save_model,
    before_epoch: Callable[[keras.Model, int], None] | None = None,
    rate_option: str = "learning_rate",
) -> dict[str, Any]:
    """Trains a model of a run, or resumes its training; the best epoch is kept.

    Args:
        context: Context of the run.
        title: Name of the training in printed lines and in TensorBoard.
        folder: Folder of its checkpoints, below `checkpoints` of the run directory.
        settings: Section of the configuration with the batch size, the epochs, the patience and the
            schedule.
        seed: Seed of initial weights and dropout.
        num_examples: Examples of an epoch.
        build: Builds and compiles the model, given the number of batches of an epoch.
        make_dataset: Makes the batches from a part of the training on.
        make_validation: Makes the function that computes the validation metrics of the model.
        monitor: Name of the metric that selects the best epoch; smaller perplexities and larger
            values of other metrics are better.
        precision: Keras dtype policy under which the model is built.
        measure_before: Whether the model is also validated before the training.
        callbacks: Further callbacks, which must not change the training.
        save_best: Writes the model of the best epoch to a path, see `ResumableTraining`.
        before_epoch: Called with the model and the index of every epoch before its first step.
        rate_option: Field of the section with the learning rate, for messages.

    Returns:
        Metrics of the best epoch; "epochs", the number of epochs, and "best_epoch", counted from 1;
        and, if `measure_before`, `monitor` before the training under its name and "_before".
    """
    config, strategy = context.config, context.strategy
    steps_per_epoch = -(-num_examples // settings.batch_size)
    set_seed(seed)
    with strategy.scope(), training_precision(precision):
        model = build(steps_per_epoch)
    validate = make_validation(model)
    before = {}
    if measure_before:
        (value,) = broadcast_from_chief(strategy, np.array([validate()[monitor]])).tolist()
        before[f"{monitor}_before"] = value
        if context.is_chief:
            print(f"{title}: {monitor} {value:.2f} before the training")
    training = ResumableTraining(
        context.run / "checkpoints" / folder,
        settings,
        validate,
        monitor,
        mode="min" if "perplexity" in monitor else "max",
        steps_per_epoch=steps_per_epoch,
        seed=seed,
        name=title,
        save_seconds=config.compute.save_seconds,
        save_best=save_best,
        before_epoch=before_epoch,
        rate_option=rate_option,
    )
    recorder = Recorder(
        context.run / "tensorboard",
        title,
        num_examples,
        steps_per_epoch,
        profile=config.report.profile,
        writes=context.is_chief,
    )
    training.run(model, lambda part: recorder.timed(make_dataset(part)), [recorder, *callbacks])
    barrier(strategy)  # The other workers may now read what the chief has written last.
    return {
        "epochs": len(training.history),
        "best_epoch": training.best_epoch + 1,
        **before,
        **training.history[training.best_epoch],
    }
