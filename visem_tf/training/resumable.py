"""Trainings that resume after an interruption at any step, with the same numbers."""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf
import tqdm

from visem_tf.config import TrainingConfig
from visem_tf.errors import UserError
from visem_tf.models.saving import save_model
from visem_tf.runtime.files import temporary_folder
from visem_tf.runtime.progress import progress_bar
from visem_tf.runtime.workers import broadcast_from_chief, num_workers, worker_index
from visem_tf.training.batches import Part, distributed
from visem_tf.training.training_state import Progress, load_state, save_state

Validation = Callable[[], dict[str, float]]
"""Computes the validation metrics of the model in its current state."""

_PLATEAU_FACTOR = 0.1

_STEPS_BETWEEN_CHECKS = 50
"""With several workers, steps after which the chief decides whether it is time to save."""


@dataclass(eq=False, repr=False)
class ResumableTraining(keras.callbacks.Callback):
    """Trains a model with validation, checkpoints, early stopping and a progress bar.

    The folder holds `best.keras`, the model of the best epoch, and the state to resume from, see
    `visem_tf.training.training_state`. Each file is replaced atomically. All workers must see the
    same folder; only the chief writes to it, and its metrics decide for all workers.

    A training whose loss or monitored metric is no finite number ends with an error, without saving
    the epoch.

    Args:
        folder: Folder of the checkpoints.
        settings: Section of the configuration with the epochs, the patience and the schedule.
        validate: Computes the validation metrics after every epoch, in every worker.
        monitor: Name of the metric that selects the best epoch.
        mode: "max" if larger values of `monitor` are better, "min" if smaller ones are.
        steps_per_epoch: Batches of an epoch.
        seed: Seed of dropout, which depends on it and on the epoch only.
        name: Name of the training in printed lines and before the progress bar.
        save_seconds: Seconds after which a checkpoint is saved within an epoch; 0 saves after
            whole epochs only.
        save_best: Writes the model of the best epoch to a path, and its other files to places that
            depend on this path: in workers other than the chief, it is a temporary one.
        before_epoch: Called with the model and the index of every epoch before its first step.
        rate_option: Field of the section with the learning rate, for messages.
    """

    folder: Path
    settings: TrainingConfig
    validate: Validation
    monitor: str
    mode: Literal["max", "min"]
    _: KW_ONLY
    steps_per_epoch: int
    seed: int
    name: str
    save_seconds: float = 0.0
    save_best: Callable[[keras.Model, Path], None] = save_model
    before_epoch: Callable[[keras.Model, int], None] | None = None
    rate_option: str = "learning_rate"

    def __post_init__(self) -> None:
        """Starts before the first epoch."""
        super().__init__()
        self.history: list[dict[str, float]] = []
        self.step = 0
        self.finished = False
        self._running_metrics: dict[str, np.ndarray] = {}
        self._saved_at = time.monotonic()

    @property
    def best_path(self) -> Path:
        """File of the best model so far."""
        return self.folder / "best.keras"

    @property
    def best_epoch(self) -> int:
        """Index of the best epoch, the first of equal ones; -1 before the first epoch."""
        if not self.history:
            return -1
        values = np.array([metrics[self.monitor] for metrics in self.history])
        worst = -np.inf if self.mode == "max" else np.inf
        values = np.where(np.isnan(values), worst, values)
        return int(np.argmax(values) if self.mode == "max" else np.argmin(values))

    @property
    def epochs_without_improvement(self) -> int:
        """Number of epochs since the best one."""
        return len(self.history) - 1 - self.best_epoch

    @property
    def is_chief(self) -> bool:
        """Whether this process writes the files."""
        return worker_index(self.model.distribute_strategy) == 0

    def run(
        self,
        model: keras.Model,
        make_dataset: Callable[[Part], tf.data.Dataset],
        callbacks: Sequence[keras.callbacks.Callback] = (),
    ) -> None:
        """Trains until the last epoch, or until the validation metric stops improving.

        Args:
            model: Compiled and built model; a checkpoint in the folder replaces its variables.
            make_dataset: Makes the batches from a part of the training on, see
                `visem_tf.training.batches.epoch_batches`.
            callbacks: Further callbacks, which must not change the training.
        """
        strategy = model.distribute_strategy
        with strategy.scope():
            model.optimizer.build(model.trainable_variables)
        self._restore(model)
        is_short = self.finished and len(self.history) < self.settings.epochs
        if is_short and worker_index(strategy) == 0:
            print(
                f"{self.name}: stopped after {len(self.history)} of {self.settings.epochs} epochs, "
                f"because the last {self.epochs_without_improvement} brought no improvement; a "
                "larger patience lets it go on"
            )
        while not self.finished:
            epoch, step = len(self.history), self.step
            model.fit(
                distributed(strategy, make_dataset, Part(epoch, step)),
                initial_epoch=epoch,
                # The rest of an interrupted epoch has fewer steps than the epochs after it.
                epochs=epoch + 1 if step else self.settings.epochs,
                steps_per_epoch=self.steps_per_epoch - step,
                callbacks=[self, *callbacks],
                shuffle=False,
                verbose=0,
            )

    def on_train_begin(self, logs: Any = None) -> None:
        """Opens the progress bar."""
        self._bar = progress_bar(
            self.steps_per_epoch * self.settings.epochs,
            self.name,
            "steps",
            initial=self._steps_taken,
        )

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Seeds dropout for the epoch, or restores the running metrics of an interrupted one."""
        if self.step:
            for name, variable in _metric_variables(self.model).items():
                variable.assign(self._running_metrics[name])
            return
        for number, generator in enumerate(_seed_generators(self.model)):
            state = np.random.SeedSequence([self.seed, epoch, number]).generate_state(2)
            generator.state.assign(state.astype(generator.state.dtype))
        if self.before_epoch:
            self.before_epoch(self.model, epoch)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Warms the learning rate up, if a plateau is to lower it; optimizers do it otherwise."""
        if self.settings.schedule == "plateau" and self._is_warming_up:
            share = (self._steps_taken + 1) / self.settings.warmup_steps
            self.model.optimizer.learning_rate = self.settings.learning_rate * share

    @property
    def _steps_taken(self) -> int:
        return self.steps_per_epoch * len(self.history) + self.step

    @property
    def _is_warming_up(self) -> bool:
        return self._steps_taken < self.settings.warmup_steps

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Saves a checkpoint if `save_seconds` have passed since the last one."""
        if isinstance(self._bar, tqdm.tqdm) and logs and "loss" in logs:
            self._bar.set_postfix(loss=f"{float(logs['loss']):.4g}", refresh=False)
        self._bar.update()
        self.step += 1
        if not self.save_seconds or self.step >= self.steps_per_epoch:
            return
        due = time.monotonic() - self._saved_at >= self.save_seconds
        strategy = self.model.distribute_strategy
        if num_workers(strategy) > 1:
            if self.step % _STEPS_BETWEEN_CHECKS:
                return
            due = bool(broadcast_from_chief(strategy, np.array([due], np.float64))[0])
        if due:
            self._save()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Validates, saves, and decides whether to stop."""
        logs = {} if logs is None else logs
        logs.update(self.validate())
        values = np.array([float(value) for value in logs.values()], np.float64)
        values = broadcast_from_chief(self.model.distribute_strategy, values)
        found = dict(zip(logs, values.tolist(), strict=True))
        self._check_finite(epoch, found)
        self.history.append(found)
        self.step = 0
        improved = self.epochs_without_improvement == 0
        if improved:
            self._save_best()
        self.finished = self._has_finished()
        if self.settings.schedule == "plateau" and not improved and not self._is_warming_up:
            rate = self.model.optimizer.learning_rate
            self.model.optimizer.learning_rate = float(rate) * _PLATEAU_FACTOR
        self._save()
        if self.is_chief:
            self._print_epoch(improved)
        self.model.stop_training = self.finished

    def _check_finite(self, epoch: int, metrics: dict[str, float]) -> None:
        """Raises a UserError if the training has diverged."""
        for name in ("loss", self.monitor):
            if not np.isfinite(metrics.get(name, 0.0)):
                self._bar.close()
                kept = ""
                if self.history:
                    kept = f"; {self.best_path} has the best epoch, {self.best_epoch + 1}"
                raise UserError(
                    f"{self.name}: the training diverged in epoch {epoch + 1} ({name} is "
                    f"{metrics[name]}); try a smaller learning rate "
                    f"(--{self.settings.section}.{self.rate_option}) in another --run-dir{kept}"
                )

    def _has_finished(self) -> bool:
        """Whether the last epoch is over, or the patience."""
        return (
            len(self.history) >= self.settings.epochs
            or self.epochs_without_improvement >= self.settings.patience
        )

    def on_train_end(self, logs: Any = None) -> None:
        """Closes the progress bar."""
        self._bar.close()

    def _save_best(self) -> None:
        if self.is_chief:
            self.save_best(self.model, self.best_path)
            return
        # Reading some variables takes all workers.
        with temporary_folder() as folder:
            self.save_best(self.model, folder / "unused" / "best.keras")

    def _save(self) -> None:
        self._saved_at = time.monotonic()
        variables = {**_variables(self.model), **_metric_variables(self.model)}
        arrays = {name: np.asarray(value) for name, value in variables.items()}
        if not self.is_chief:
            return
        progress = Progress(epochs=len(self.history), finished=self.finished, history=self.history)
        save_state(self.folder, self.step, progress, arrays)

    def _restore(self, model: keras.Model) -> None:
        """Restores the variables, and the state of this object, from the folder."""
        variables, metrics = _variables(model), _metric_variables(model)
        shapes = {name: tuple(v.shape) for name, v in {**variables, **metrics}.items()}
        state = load_state(self.folder, shapes)
        if state is None:
            return
        progress, self.step, arrays = state
        self.history = progress["history"]
        self.finished = self._has_finished()  # by these settings, with which it may go on
        for name, variable in variables.items():
            variable.assign(arrays[name])
        self._running_metrics = {name: arrays[name] for name in metrics}

    def _print_epoch(self, improved: bool) -> None:
        text = "  ".join(f"{name} {value:.4g}" for name, value in self.history[-1].items())
        mark = "  *" if improved else ""
        line = f"{self.name}: epoch {len(self.history)}/{self.settings.epochs}  {text}{mark}"
        tqdm.tqdm.write(line, file=sys.stdout)  # above the progress bar
        sys.stdout.flush()


def _variables(model: keras.Model) -> dict[str, keras.Variable]:
    """The variables of a model and its optimizer, by names that do not depend on layer names."""
    owners = {"model": model.variables, "optimizer": model.optimizer.variables}
    return {
        f"{owner}-{number}": variable
        for owner, variables in owners.items()
        for number, variable in enumerate(variables)
    }


def _metric_variables(model: keras.Model) -> dict[str, keras.Variable]:
    """The variables of the running metrics of the current epoch."""
    variables = [variable for metric in model.metrics for variable in metric.variables]
    return {f"metric-{number}": variable for number, variable in enumerate(variables)}


def _seed_generators(model: keras.Model) -> list[keras.random.SeedGenerator]:
    return [
        layer.seed_generator
        for layer in model._flatten_layers(include_self=False)
        if isinstance(getattr(layer, "seed_generator", None), keras.random.SeedGenerator)
    ]
