"""Metrics, speed, gradient norms and, on request, a profile of a training for TensorBoard.

All trainings of a run write to one folder, each with its own prefix, so that TensorBoard shows them
as one run: "alignment/loss", "full-frame generator/perplexity".
"""

import collections
import time
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

_PROFILED_STEPS = (5, 10)
"""First and last profiled step; the graphs are traced before the first."""


class GradientNorm:
    """Mean norm of the gradients of an epoch, in variables that are not part of the model."""

    def __init__(self) -> None:
        mean = tf.VariableAggregation.MEAN
        self._total = tf.Variable(0.0, trainable=False, aggregation=mean)
        self._steps = tf.Variable(0.0, trainable=False, aggregation=mean)

    def update(self, gradients: list[tf.Tensor]) -> None:
        """Adds the norm of the gradients of a step; runs in the graph of the step."""
        self._total.assign_add(tf.cast(tf.linalg.global_norm(gradients), tf.float32))
        self._steps.assign_add(1.0)

    def reset(self) -> float:
        """Returns the mean since the last call, or NaN if there was no step, and resets it."""
        steps = float(self._steps.numpy())
        mean = float(self._total.numpy()) / steps if steps else float("nan")
        self._total.assign(0.0)
        self._steps.assign(0.0)
        return mean


@dataclass(eq=False, repr=False)
class Recorder(keras.callbacks.Callback):
    """Writes the metrics of every epoch for TensorBoard.

    In addition to the logs of the training it writes "learning rate"; "gradient norm", the mean
    over the steps, before clipping; "examples a second", without validation; and, for one replica,
    "input wait", the share of the training time in which no batch was ready.

    Args:
        log_dir: Folder of the event files of the run.
        name: Prefix of the names of all metrics.
        num_examples: Examples of an epoch.
        steps_per_epoch: Batches of an epoch.
        profile: Whether a few steps of the first epoch are profiled.
        writes: Whether this process writes files; all workers take part, and only one writes.
    """

    log_dir: Path
    name: str
    num_examples: int
    steps_per_epoch: int
    _: KW_ONLY
    profile: bool = False
    writes: bool = True

    def __post_init__(self) -> None:
        """Starts without any batch."""
        super().__init__()
        self.profile &= self.writes
        self._ready: collections.deque[float] = collections.deque()
        self._timed = False

    def timed(self, batches: tf.data.Dataset) -> tf.data.Dataset:
        """Returns the same batches, and records the time at which each is ready."""
        self._timed = True

        def note(part: np.ndarray) -> np.ndarray:
            self._ready.append(time.perf_counter())
            return part

        def noted(*batch: Any) -> Any:
            # The smallest part of the batch passes through a stateless function: with a stateful
            # one, the determinism of TensorFlow would disable prefetching and parallel reading.
            parts = tf.nest.flatten(batch, expand_composites=True)
            smallest = min(range(len(parts)), key=lambda n: parts[n].shape.rank or 0)
            part = parts[smallest]
            passed = tf.numpy_function(note, [part], part.dtype, stateful=False)
            parts[smallest] = tf.ensure_shape(passed, part.shape)
            batch = tf.nest.pack_sequence_as(batch, parts, expand_composites=True)
            return batch if len(batch) > 1 else batch[0]

        return batches.map(noted).prefetch(2)

    def set_model(self, model: keras.Model) -> None:
        """Attaches a gradient norm to the model, before its training step is traced."""
        super().set_model(model)
        if getattr(model, "gradient_norm", None) is None:  # A traced step keeps the first one.
            with model.distribute_strategy.scope():
                model.gradient_norm = GradientNorm()
        self._gradient_norm = model.gradient_norm

    def on_train_begin(self, logs: Any = None) -> None:
        """Opens the event file."""
        if self.writes:
            suffix = f".{self.name.replace(' ', '-')}"
            self._writer = tf.summary.create_file_writer(str(self.log_dir), filename_suffix=suffix)
        else:
            self._writer = tf.summary.create_noop_writer()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Starts the clock."""
        self._waited, self._started = 0.0, time.perf_counter()
        self._ended = self._started
        self._gradient_norm.reset()

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Records when a batch is requested."""
        self._requested = time.perf_counter()
        if self.profile and batch == _PROFILED_STEPS[0]:
            tf.profiler.experimental.start(str(self.log_dir))

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Adds the time between the request of a batch and its arrival."""
        self._ended = time.perf_counter()
        if self._ready:
            self._waited += max(0.0, self._ready.popleft() - self._requested)
        if self.profile and batch == _PROFILED_STEPS[1]:
            self._stop_profiling()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Writes the metrics of training and validation, which are in `logs`."""
        steps = self.params["steps"]  # A resumed epoch has fewer than `steps_per_epoch`.
        if self.profile and steps > _PROFILED_STEPS[0]:
            self._stop_profiling()  # The epoch ended before the last profiled step.
        seconds = max(self._ended - self._started, 1e-9)
        rate = keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)
        metrics = {**(logs or {}), "learning rate": float(rate)}
        metrics["examples a second"] = steps / self.steps_per_epoch * self.num_examples / seconds
        norm = self._gradient_norm.reset()
        if np.isfinite(norm):
            metrics["gradient norm"] = norm
        if self._timed and self.model.distribute_strategy.num_replicas_in_sync == 1:
            metrics["input wait"] = min(1.0, self._waited / seconds)
        with self._writer.as_default(epoch + 1):
            for metric, value in metrics.items():
                tf.summary.scalar(f"{self.name}/{metric.replace('_', ' ')}", value)
        self._writer.flush()

    def on_train_end(self, logs: Any = None) -> None:
        """Closes the event file."""
        self._writer.close()

    def _stop_profiling(self) -> None:
        self.profile = False
        tf.profiler.experimental.stop()
