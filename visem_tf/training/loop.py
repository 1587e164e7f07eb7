"""Epochs that can be resumed: `Model.fit` with the callbacks that every training here has."""

import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tqdm

from visem_tf.config import AlignConfig, GenerateConfig
from visem_tf.models.saving import save_model
from visem_tf.runtime.files import atomic_path, write_atomically
from visem_tf.runtime.workers import broadcast_from_chief, num_workers, worker_index
from visem_tf.training.bar import TrainingBar
from visem_tf.training.pipeline import Part, distributed

Validation = Callable[[keras.Model], dict[str, float]]
"""Measures a model after an epoch."""

_PLATEAU_FACTOR = 0.1

_STEPS_BETWEEN_QUESTIONS = 50
"""Of several workers, the chief tells the others this often whether it is time to save."""


class Progress(keras.callbacks.Callback):
    """Measures, reports and saves after every epoch, stops early, and goes on after a kill.

    The folder holds `best.keras`, the best epoch's model; `last-E-S.npz`, all numbers of the model,
    the optimizer and the running metrics after E whole epochs and S more steps; and
    `progress.json`, the figures of all epochs. Each is written whole or not at all, `progress.json`
    last: it tells which numbers are the last ones. Of several workers, which must see one folder,
    the chief alone writes; his figures decide for all.

    Args:
      folder: Where the files are.
      settings: The section `align` or `generate`, for patience and schedule.
      validate: Measures the model after every epoch, in every worker.
      monitor: Name of the figure that decides, among those of `validate` and of training.
      larger_is_better: Whether the figure should grow.
      seed: What dropout draws in an epoch depends on it and the epoch alone.
      name: Stands before every printed line.
      save_seconds: Saves within an epoch after so many seconds; 0 after whole epochs only.
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
        save_seconds: float = 0.0,
    ) -> None:
        super().__init__()
        self.folder = folder
        self.settings = settings
        self.validate = validate
        self.monitor = monitor
        self.sign = 1.0 if larger_is_better else -1.0
        self.seed = seed
        self.label = name
        self.save_seconds = save_seconds
        self.history: list[dict[str, float]] = []
        self.step = 0
        self.steps_per_epoch = 0
        self.finished = False
        self._running_metrics: dict[str, np.ndarray] = {}
        self._saved_at = time.monotonic()

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

    @property
    def is_chief(self) -> bool:
        """Whether this process writes."""
        return worker_index(self.model.distribute_strategy) == 0

    def restore(self, model: keras.Model) -> None:
        """Takes up an interrupted training: numbers into a built model, figures into this."""
        path = self.folder / "progress.json"
        if not path.exists():
            return
        progress = json.loads(path.read_text(encoding="utf-8"))
        self.history = progress["history"]
        self.finished = progress["finished"]
        self.step = progress.get("step", 0)
        file = f"last-{progress['epochs']}-{self.step}.npz"
        if "step" not in progress:  # of version 0.1.0
            file = f"last-{progress['epochs']}.npz"
        with np.load(self.folder / file, allow_pickle=False) as numbers:
            for name, variable in _variables(model).items():
                variable.assign(numbers[name])
            if self.step:
                self._running_metrics = {name: numbers[name] for name in _running_metrics(model)}

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Gives dropout its seeds for the epoch, or goes on where it was interrupted."""
        if self.step:
            for name, variable in _running_metrics(self.model).items():
                variable.assign(self._running_metrics[name])
            return
        for number, generator in enumerate(_seed_generators(self.model)):
            state = np.random.SeedSequence([self.seed, epoch, number]).generate_state(2)
            generator.state.assign(state.astype(generator.state.dtype))

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Saves if it is time to."""
        self.step += 1
        if not self.save_seconds or self.step >= self.steps_per_epoch:
            return
        due = time.monotonic() - self._saved_at >= self.save_seconds
        strategy = self.model.distribute_strategy
        if num_workers(strategy) > 1:
            if self.step % _STEPS_BETWEEN_QUESTIONS:
                return
            due = bool(broadcast_from_chief(strategy, np.array([due], np.float64))[0])
        if due:
            self._save()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Measures, saves and decides whether to go on."""
        logs = {} if logs is None else logs
        logs.update(self.validate(self.model))
        figures = np.array([float(value) for value in logs.values()], np.float64)
        figures = broadcast_from_chief(self.model.distribute_strategy, figures)
        self.history.append(dict(zip(logs, figures.tolist(), strict=True)))
        self.step = 0
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
        if self.is_chief:
            self._print(gained)
        self.model.stop_training = self.finished

    def save_best(self) -> None:
        """Saves the model as the best one so far; all workers must call this."""
        if self.is_chief:
            save_model(self.model, self.best_path)
            return
        # Reading some variables is a matter for all workers.
        with tempfile.TemporaryDirectory() as folder:
            self.model.save(Path(folder) / "unused.keras")

    def _save(self) -> None:
        self._saved_at = time.monotonic()
        epochs, name = len(self.history), f"last-{len(self.history)}-{self.step}.npz"
        variables = {**_variables(self.model), **_running_metrics(self.model)}
        numbers = {name: np.asarray(value) for name, value in variables.items()}
        if not self.is_chief:
            return
        with atomic_path(self.folder / name) as temporary:
            np.savez(temporary, allow_pickle=False, **numbers)
        progress = {
            "epochs": epochs,
            "step": self.step,
            "finished": self.finished,
            "history": self.history,
        }
        write_atomically(self.folder / "progress.json", json.dumps(progress, indent=1) + "\n")
        for old in self.folder.glob("last-*.npz"):
            if old.name != name:
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
    make_dataset: Callable[[Part], tf.data.Dataset],
    steps_per_epoch: int,
    progress: Progress,
    watchers: Sequence[keras.callbacks.Callback] = (),
) -> None:
    """Trains a compiled and built model until its last epoch or until it stops improving.

    Args:
      model: Its optimizer is built too; both are restored from `progress` if there is something.
      make_dataset: A part to its batches in the first epoch and all later ones, see
        `visem_tf.training.pipeline.epoch_batches`.
      steps_per_epoch: Batches of an epoch.
      progress: Saves and stops.
      watchers: Further callbacks, which see the figures of every epoch and change nothing.
    """
    strategy = model.distribute_strategy
    with strategy.scope():
        model.optimizer.build(model.trainable_variables)
    progress.restore(model)
    progress.steps_per_epoch = steps_per_epoch
    while not progress.finished:
        epoch, step = len(progress.history), progress.step
        bar = TrainingBar(progress.label, steps_per_epoch, progress.settings.epochs, epoch, step)
        model.fit(
            distributed(strategy, make_dataset, Part(epoch, step)),
            initial_epoch=epoch,
            # The rest of an interrupted epoch has fewer steps than those to come.
            epochs=epoch + 1 if step else progress.settings.epochs,
            steps_per_epoch=steps_per_epoch - step,
            callbacks=[progress, *watchers, bar],
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


def _running_metrics(model: keras.Model) -> dict[str, keras.Variable]:
    """What the metrics of the current epoch have added up so far."""
    variables = [variable for metric in model.metrics for variable in metric.variables]
    return {f"metric-{number}": variable for number, variable in enumerate(variables)}


def _seed_generators(model: keras.Model) -> list[keras.random.SeedGenerator]:
    return [
        layer.seed_generator
        for layer in model._flatten_layers(include_self=False)
        if isinstance(getattr(layer, "seed_generator", None), keras.random.SeedGenerator)
    ]
