"""What TensorBoard shows of a training: figures, speed, gradients, and, on request, a profile.

All trainings of a run write into one folder, each under a name of its own, so that TensorBoard
shows them as one run: "alignment/loss", "full-frame generator/perplexity".
"""

import collections
import time
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

_PROFILED = (5, 10)  # the first and the last step, once graphs are traced


class GradientNorm:
    """The mean norm of the gradients of an epoch, kept beside a model but no part of it."""

    def __init__(self) -> None:
        mean = tf.VariableAggregation.MEAN
        self._total = tf.Variable(0.0, trainable=False, aggregation=mean)
        self._steps = tf.Variable(0.0, trainable=False, aggregation=mean)

    def update(self, gradients: list[tf.Tensor]) -> None:
        """Takes the gradients of a step, in graph."""
        self._total.assign_add(tf.cast(tf.linalg.global_norm(gradients), tf.float32))
        self._steps.assign_add(1.0)

    def take(self) -> float:
        """Returns the mean since the last call; not a number where there was no step."""
        steps = float(self._steps.numpy())
        mean = float(self._total.numpy()) / steps if steps else float("nan")
        self._total.assign(0.0)
        self._steps.assign(0.0)
        return mean


class Recorder(keras.callbacks.Callback):
    """Writes the figures of every epoch for TensorBoard.

    Beside what the training logs: "learning rate"; "gradient norm", the mean over the steps, before
    clipping; "examples a second" of training alone; and "input wait", the share of that time in
    which no batch was ready (for one replica, if the batches went through `watched`).

    Args:
      log_dir: The run's folder of event files.
      name: Begins the names of all figures.
      num_examples: Of an epoch.
      steps_per_epoch: Batches of an epoch, of which a resumed one has fewer left; None: not so.
      profile: Whether a few steps of the first epoch are profiled.
      writes: Whether this process writes; of several workers all take part, and one writes.
    """

    def __init__(
        self,
        log_dir: Path,
        name: str,
        num_examples: int,
        *,
        steps_per_epoch: int | None = None,
        profile: bool = False,
        writes: bool = True,
    ) -> None:
        super().__init__()
        self.log_dir = log_dir
        self.name = name
        self.num_examples = num_examples
        self.steps_per_epoch = steps_per_epoch
        self.profile = profile and writes
        self.writes = writes
        self._ready: collections.deque[float] = collections.deque()
        self._watched = False
        self._writer: tf.summary.SummaryWriter | None = None

    def watched(self, batches: tf.data.Dataset) -> tf.data.Dataset:
        """The same batches; notes when each is ready."""
        self._watched = True

        def note(part: np.ndarray) -> np.ndarray:
            self._ready.append(time.perf_counter())
            return part

        def noted(*batch: Any) -> Any:
            # A stateless function, through which the smallest part of the batch goes: for one with
            # state, TensorFlow's determinism takes prefetching and parallel reading away.
            parts = tf.nest.flatten(batch, expand_composites=True)
            smallest = min(range(len(parts)), key=lambda n: parts[n].shape.rank or 0)
            part = parts[smallest]
            through = tf.numpy_function(note, [part], part.dtype, stateful=False)
            parts[smallest] = tf.ensure_shape(through, part.shape)
            batch = tf.nest.pack_sequence_as(batch, parts, expand_composites=True)
            return batch if len(batch) > 1 else batch[0]

        return batches.map(noted).prefetch(2)

    def set_model(self, model: keras.Model) -> None:
        """Puts a gradient norm beside the model, before its step is traced."""
        super().set_model(model)
        if getattr(model, "gradient_norm", None) is None:  # a traced step keeps the first
            with model.distribute_strategy.scope():
                model.gradient_norm = GradientNorm()
        self._gradient_norm = model.gradient_norm

    def on_train_begin(self, logs: Any = None) -> None:
        """Opens the file."""
        suffix = f".{self.name.replace(' ', '-')}"
        if not self.writes:
            self._writer = tf.summary.create_noop_writer()
            return
        self._writer = tf.summary.create_file_writer(str(self.log_dir), filename_suffix=suffix)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Starts the clock."""
        self._waited, self._started = 0.0, time.perf_counter()
        self._ended = self._started
        self._gradient_norm.take()

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Remembers when a batch was asked for."""
        self._asked = time.perf_counter()
        if self.profile and batch == _PROFILED[0]:
            tf.profiler.experimental.start(str(self.log_dir))

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Counts the time from asking for a batch until it was ready."""
        self._ended = time.perf_counter()
        if self._ready:
            self._waited += max(0.0, self._ready.popleft() - self._asked)
        if self.profile and batch == _PROFILED[1]:
            self._stop_profiling()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Writes the figures; `logs` holds those of training and of validation."""
        assert self._writer is not None
        if self.profile and self.params.get("steps", 0) > _PROFILED[0]:
            self._stop_profiling()  # an epoch that was shorter
        seconds = max(self._ended - self._started, 1e-9)
        rate = keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)
        figures = {**(logs or {}), "learning rate": float(rate)}
        steps = self.params.get("steps", 0)
        share = steps / self.steps_per_epoch if self.steps_per_epoch and steps else 1.0
        figures["examples a second"] = share * self.num_examples / seconds
        norm = self._gradient_norm.take()
        if np.isfinite(norm):
            figures["gradient norm"] = norm
        if self._watched and self.model.distribute_strategy.num_replicas_in_sync == 1:
            figures["input wait"] = min(1.0, self._waited / seconds)
        with self._writer.as_default(epoch + 1):
            for figure, value in figures.items():
                tf.summary.scalar(f"{self.name}/{figure.replace('_', ' ')}", value)
        self._writer.flush()

    def on_train_end(self, logs: Any = None) -> None:
        """Closes the file."""
        if self._writer is not None:
            self._writer.close()

    def _stop_profiling(self) -> None:
        self.profile = False
        tf.profiler.experimental.stop()
