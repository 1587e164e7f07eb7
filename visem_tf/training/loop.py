"""Epochs that can be resumed: `Model.fit` with the callbacks that every training here has."""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tqdm

from visem_tf.config import AlignConfig, GenerateConfig
from visem_tf.files import atomic_path, write_atomically
from visem_tf.models.keras_files import save_model
from visem_tf.training.bar import TrainingBar

Validation = Callable[[keras.Model], dict[str, float]]
"""Measures a model after an epoch."""

_PLATEAU_FACTOR = 0.1


class Progress(keras.callbacks.Callback):
    """Measures, reports and saves after every epoch, stops early, and goes on after a kill.

    The folder holds `best.keras`, the best epoch's model; `last.npz`, all numbers of the model and
    the optimizer after the last whole epoch; and `progress.json`, the figures of all epochs. Each
    is written whole or not at all, `progress.json` last: it tells which epoch the others are of.

    Args:
      folder: Where the files are.
      settings: The section `align` or `generate`, for patience and schedule.
      validate: Measures the model after every epoch.
      monitor: Name of the figure that decides, among those of `validate` and of training.
      larger_is_better: Whether the figure should grow.
      seed: What dropout draws in an epoch depends on it and the epoch alone.
      name: Stands before every printed line.
    """

    def __init__(
        self,
        folder: Path,
        settings: AlignConfig | GenerateConfig,
        validate: Validation,
        monitor: str,
        *,
        larger_is_better: bool,
        seed: int,
        name: str,
    ) -> None:
        super().__init__()
        self.folder = folder
        self.settings = settings
        self.validate = validate
        self.monitor = monitor
        self.sign = 1.0 if larger_is_better else -1.0
        self.seed = seed
        self.label = name
        self.history: list[dict[str, float]] = []
        self.finished = False

    @property
    def best_path(self) -> Path:
        """The best model so far."""
        return self.folder / "best.keras"

    @property
    def best_epoch(self) -> int:
        """The epoch with the best figure, the first of equals; -1 before the first."""
        if not self.history:
            return -1
        return int(np.argmax([self.sign * figures[self.monitor] for figures in self.history]))

    @property
    def epochs_without_gain(self) -> int:
        """Epochs since the best one."""
        return len(self.history) - 1 - self.best_epoch

    def restore(self, model: keras.Model) -> None:
        """Takes up an interrupted training: numbers into a built model, figures into this."""
        path = self.folder / "progress.json"
        if not path.exists():
            return
        progress = json.loads(path.read_text(encoding="utf-8"))
        with np.load(self.folder / f"last-{progress['epochs']}.npz", allow_pickle=False) as numbers:
            for name, variable in _variables(model).items():
                variable.assign(numbers[name])
        self.history = progress["history"]
        self.finished = progress["finished"]

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Gives dropout its seeds for the epoch."""
        for number, generator in enumerate(_seed_generators(self.model)):
            state = np.random.SeedSequence([self.seed, epoch, number]).generate_state(2)
            generator.state.assign(state.astype(generator.state.dtype))

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Measures, saves and decides whether to go on."""
        logs = {} if logs is None else logs
        logs.update(self.validate(self.model))
        self.history.append({name: float(value) for name, value in logs.items()})
        gained = self.best_epoch == len(self.history) - 1
        if gained:
            self.save_best()
        self.finished = (
            len(self.history) >= self.settings.epochs
            or self.epochs_without_gain >= self.settings.patience
        )
        if self.settings.schedule == "plateau" and not gained:
            rate = self.model.optimizer.learning_rate
            self.model.optimizer.learning_rate = float(rate) * _PLATEAU_FACTOR
        self._save()
        self._print(gained)
        self.model.stop_training = self.finished

    def save_best(self) -> None:
        """Saves the model as the best one so far."""
        save_model(self.model, self.best_path)

    def _save(self) -> None:
        epochs = len(self.history)
        numbers = {name: np.asarray(value) for name, value in _variables(self.model).items()}
        with atomic_path(self.folder / f"last-{epochs}.npz") as temporary:
            np.savez(temporary, allow_pickle=False, **numbers)
        progress = {"epochs": epochs, "finished": self.finished, "history": self.history}
        write_atomically(self.folder / "progress.json", json.dumps(progress, indent=1) + "\n")
        for old in self.folder.glob("last-*.npz"):
            if old.name != f"last-{epochs}.npz":
                old.unlink()

    def _print(self, gained: bool) -> None:
        figures = self.history[-1]
        text = "  ".join(f"{name} {value:.4g}" for name, value in figures.items())
        mark = "  *" if gained else ""
        line = f"{self.label}: epoch {len(self.history)}/{self.settings.epochs}  {text}{mark}"
        tqdm.tqdm.write(line, file=sys.stdout)  # above a progress bar
        sys.stdout.flush()


def train(
    model: keras.Model,
    make_dataset: Callable[[int], tf.data.Dataset],
    steps_per_epoch: int,
    progress: Progress,
    watchers: Sequence[keras.callbacks.Callback] = (),
) -> None:
    """Trains a compiled and built model until its last epoch or until it stops improving.

    Args:
      model: Its optimizer is built too; both are restored from `progress` if there is something.
      make_dataset: The first epoch to its batches and those of all later epochs.
      steps_per_epoch: Batches of an epoch.
      progress: Saves and stops.
      watchers: Further callbacks, which see the figures of every epoch and change nothing.
    """
    strategy = model.distribute_strategy
    with strategy.scope():
        model.optimizer.build(model.trainable_variables)
    progress.restore(model)
    first_epoch = len(progress.history)
    if progress.finished:
        return
    model.fit(
        make_dataset(first_epoch),
        initial_epoch=first_epoch,
        epochs=progress.settings.epochs,
        steps_per_epoch=steps_per_epoch,
        callbacks=[
            progress,
            *watchers,
            TrainingBar(progress.label, steps_per_epoch, progress.settings.epochs, first_epoch),
        ],
        shuffle=False,
        verbose=0,
    )


def _variables(model: keras.Model) -> dict[str, keras.Variable]:
    """All numbers of a training, by a name that does not depend on how layers are called."""
    return {
        f"{owner}-{number}": variable
        for owner, variables in [
            ("model", model.variables),
            ("optimizer", model.optimizer.variables),
        ]
        for number, variable in enumerate(variables)
    }


def _seed_generators(model: keras.Model) -> list[keras.random.SeedGenerator]:
    return [
        layer.seed_generator
        for layer in model._flatten_layers(include_self=False)
        if isinstance(getattr(layer, "seed_generator", None), keras.random.SeedGenerator)
    ]
