"""Metrics of trainings for TensorBoard."""

import time
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from visem_tf.models.global_batch import GlobalBatchModel, apply_global_gradients
from visem_tf.training.tensorboard import Recorder

ROWS = np.arange(24.0, dtype=np.float32).reshape(12, 2)


@keras.saving.register_keras_serializable(package="visem_tf_tests")
class Sum(GlobalBatchModel):
    """w . x, trained to be small: the gradient of the loss is the sum of the rows."""

    def build(self, shape):
        self.w = self.add_weight(shape=[2], initializer="ones")
        self.built = True

    def train_step(self, rows):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.linalg.matvec(rows, self.w.value))
        apply_global_gradients(self, tape, loss, clip_value=1.0)
        return {"loss": loss}


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    events.Reload()
    return {
        tag: [(e.step, float(tf.make_ndarray(e.tensor_proto))) for e in events.Tensors(tag)]
        for tag in events.Tags()["tensors"]
    }


class Computing(keras.callbacks.Callback):
    """Makes every step take time in which the next batch becomes ready."""

    def on_train_batch_end(self, batch, logs=None):
        time.sleep(0.05)


def fit(
    recorder: Recorder,
    batches: tf.data.Dataset,
    epochs: int = 2,
    steps: int = 3,
    others: Sequence[keras.callbacks.Callback] = (),
) -> Sum:
    model = Sum()
    model.build((None, 2))
    model.compile(optimizer=keras.optimizers.SGD(0.25))
    model.fit(
        batches,
        epochs=epochs,
        steps_per_epoch=steps,
        callbacks=[*others, recorder],
        verbose=0,
        shuffle=False,
    )
    return model


def test_metrics_of_every_epoch_have_the_prefix_of_the_training(tmp_path: Path):
    recorder = Recorder(tmp_path, "alignment", 12, 3)
    batches = tf.data.Dataset.from_tensor_slices(ROWS).batch(4).repeat(2)
    model = fit(recorder, recorder.timed(batches))
    found = scalars(tmp_path)
    assert set(found) == {
        f"alignment/{name}"
        for name in ("loss", "learning rate", "gradient norm", "examples a second", "input wait")
    }
    assert [step for step, _ in found["alignment/loss"]] == [1, 2]
    assert found["alignment/learning rate"] == [(1, 0.25), (2, 0.25)]
    # Before clipping: the norms of the sums of the rows of the three batches.
    expected = np.mean([np.linalg.norm(ROWS[n : n + 4].sum(0)) for n in (0, 4, 8)])
    assert [value for _, value in found["alignment/gradient norm"]] == pytest.approx([expected] * 2)
    assert len(model.variables) == 1  # the gradient norm is not part of the model


def test_waiting_for_batches_differs_from_computing(tmp_path: Path):
    def slowly(rows):
        time.sleep(0.1)
        return rows

    def delayed(rows):
        return tf.ensure_shape(tf.numpy_function(slowly, [rows], tf.float32), [None, 2])

    batches = tf.data.Dataset.from_tensor_slices(ROWS).batch(1).repeat(4)
    shares = {}
    for name, dataset, others in (
        ("waiting", batches.map(delayed), []),
        ("computing", batches, [Computing()]),
    ):
        recorder = Recorder(tmp_path / name, "x", 12, 12)
        fit(recorder, recorder.timed(dataset), epochs=2, steps=12, others=others)
        shares[name] = scalars(tmp_path / name)["x/input wait"][1][1]
    assert shares["waiting"] > 0.7
    assert shares["computing"] < 0.3


@pytest.mark.slow
def test_timed_batches_are_prefetched_under_determinism(run_python, tmp_path: Path):
    printed = run_python(
        f"""
import os
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
import pathlib, time
import tensorflow as tf
from visem_tf.training.tensorboard import Recorder

tf.config.experimental.enable_op_determinism()
tf.random.set_seed(0)
recorder = Recorder(pathlib.Path({str(tmp_path)!r}), "x", 8, 8)
made = []
def make(x):
    made.append(int(x))
    return x
batches = tf.data.Dataset.range(8).map(
    lambda x: tf.numpy_function(make, [x], tf.int64, stateful=False), num_parallel_calls=2
)
batches = iter(recorder.timed(batches.prefetch(2)))
next(batches)
time.sleep(1)
print(len(made))
"""
    )
    assert int(printed) > 2


def test_a_profile_is_written_when_asked_for(tmp_path: Path):
    recorder = Recorder(tmp_path, "x", 12, 12, profile=True)
    fit(recorder, tf.data.Dataset.from_tensor_slices(ROWS).batch(1).repeat(2), steps=12)
    assert list(tmp_path.glob("plugins/profile/*/*.xplane.pb"))
    recorder = Recorder(tmp_path / "short", "x", 12, 6, profile=True)
    fit(recorder, tf.data.Dataset.from_tensor_slices(ROWS).batch(2).repeat(2), steps=6)
    assert list((tmp_path / "short").glob("plugins/profile/*/*.xplane.pb"))


@pytest.mark.slow
def test_gradient_norms_are_recorded_on_two_devices(run_on_two_devices, tmp_path: Path):
    printed = run_on_two_devices(f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from tensorboard_test import *
with strategy.scope():
    model = Sum()
    model.build((None, 2))
    model.compile(optimizer=keras.optimizers.SGD(0.25))
recorder = Recorder(Path({str(tmp_path)!r}), "x", 12, 3)
batches = recorder.timed(tf.data.Dataset.from_tensor_slices(ROWS).batch(4))
model.fit(batches, epochs=1, steps_per_epoch=3, callbacks=[recorder], verbose=0)
print(scalars(Path({str(tmp_path)!r})))
""")
    assert "x/gradient norm" in printed and "input wait" not in printed
    expected = np.mean([np.linalg.norm(ROWS[n : n + 4].sum(0)) for n in (0, 4, 8)])
    assert f"{expected:.3f}"[:5] in printed
