"""Epochs that can be resumed: an interruption anywhere changes no number."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from visem_tf.config import AlignConfig
from visem_tf.training.loop import Progress, train

STEPS = 3


@keras.saving.register_keras_serializable(package="visem_tf_tests")
class Line(keras.Model):
    """A line through noise, with dropout, trained as the real models are."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.drop = keras.layers.Dropout(0.5)
        self.dense = keras.layers.Dense(1)

    def build(self, shape):
        self.dense.build(shape)
        self.built = True

    def call(self, x, training=False):
        return self.dense(self.drop(x, training=training))


class Killed(BaseException):
    """Where a kill would strike."""


def batches(part):
    rows = tf.random.stateless_uniform([6 * STEPS * 8, 4], [1, 2])
    data = tf.data.Dataset.from_tensor_slices((rows, tf.reduce_sum(rows, 1, keepdims=True)))
    return data.batch(8).skip(part.epoch * STEPS + part.step)


class KillAfter(Progress):
    """Strikes after a step of an epoch, once that step is saved."""

    kill_after = None

    def on_train_batch_end(self, batch, logs=None):
        super().on_train_batch_end(batch, logs)
        if (len(self.history), self.step) == self.kill_after:
            raise Killed


def training(folder, figures=None, kill_in=None, kill_after=None, save_seconds=0, **changes):
    """Trains; `figures` are the validation results of the epochs, `kill_in` an epoch."""
    keras.utils.set_random_seed(7)
    model = Line()
    model.build((None, 4))
    model.compile(optimizer=keras.optimizers.Adam(0.05), loss="mse")
    settings = AlignConfig(**{"epochs": 5, "patience": 9, "schedule": "constant", **changes})

    def validate(model):
        epoch = len(progress.history)
        if epoch == kill_in:
            raise Killed
        return {"figure": (figures or [1, 2, 3, 4, 5, 6])[epoch]}

    progress = KillAfter(
        folder,
        settings,
        validate,
        "figure",
        larger_is_better=True,
        seed=3,
        name="line",
        save_seconds=save_seconds,
    )
    progress.kill_after = kill_after
    try:
        train(model, batches, STEPS, progress)
    except Killed:
        return None, progress
    return model, progress


@pytest.mark.parametrize("epoch", [0, 1, 3])
def test_goes_on_as_if_nothing_had_happened(tmp_path, epoch):
    whole, whole_progress = training(tmp_path / "whole")
    training(tmp_path / "killed", kill_in=epoch)
    resumed, progress = training(tmp_path / "killed")
    for a, b in zip(whole.variables, resumed.variables, strict=True):
        np.testing.assert_array_equal(a, b)
    assert progress.history == whole_progress.history


@pytest.mark.parametrize(("epoch", "step"), [(0, 1), (1, 2), (4, 1)])
def test_goes_on_in_the_middle_of_an_epoch(tmp_path, epoch, step):
    whole, whole_progress = training(tmp_path / "whole")
    always = {"save_seconds": 1e-9}
    training(tmp_path / "killed", kill_after=(epoch, step), **always)
    saved = json.loads((tmp_path / "killed" / "progress.json").read_text())
    assert (saved["epochs"], saved["step"]) == (epoch, step)
    resumed, progress = training(tmp_path / "killed", **always)
    for a, b in zip(whole.variables, resumed.variables, strict=True):
        np.testing.assert_array_equal(a, b)
    assert progress.history == whole_progress.history  # The mean loss of the broken epoch as well.


def test_saves_within_an_epoch_only_when_it_is_time(tmp_path):
    training(tmp_path, kill_after=(1, 2), save_seconds=3600)
    assert json.loads((tmp_path / "progress.json").read_text())["step"] == 0
    assert [path.name for path in tmp_path.glob("last-*")] == ["last-1-0.npz"]


def test_goes_on_from_what_the_first_version_saved(tmp_path):
    training(tmp_path, kill_in=2)
    (tmp_path / "last-2-0.npz").rename(tmp_path / "last-2.npz")
    saved = json.loads((tmp_path / "progress.json").read_text())
    del saved["step"]
    (tmp_path / "progress.json").write_text(json.dumps(saved))
    resumed, _ = training(tmp_path)
    whole, _ = training(tmp_path / "whole")
    np.testing.assert_array_equal(resumed.dense.kernel, whole.dense.kernel)


def test_dropout_differs_between_epochs(tmp_path):
    model, _ = training(tmp_path, epochs=1)
    states = []
    progress = Progress(
        tmp_path, AlignConfig(), dict, "figure", larger_is_better=True, seed=3, name="line"
    )
    progress.set_model(model)
    for epoch in (0, 1, 0):
        progress.on_epoch_begin(epoch)
        states.append(model.drop.seed_generator.state.numpy().tolist())
    assert states[0] == states[2] != states[1]


def test_keeps_the_best_epoch_and_stops_when_patience_ends(tmp_path):
    _, progress = training(tmp_path, [1, 5, 2, 3, 4], patience=2)
    assert len(progress.history) == 4
    assert progress.best_epoch == 1
    best = keras.saving.load_model(tmp_path / "best.keras", compile=False)
    again, _ = training(tmp_path / "two", epochs=2)
    np.testing.assert_array_equal(best.dense.kernel, again.dense.kernel)


def test_a_finished_training_is_not_touched(tmp_path):
    training(tmp_path, epochs=2)
    before = {p.name: p.stat().st_mtime_ns for p in tmp_path.iterdir()}
    model, progress = training(tmp_path, epochs=2, kill_in=0)
    assert model is not None
    assert progress.finished
    assert {p.name: p.stat().st_mtime_ns for p in tmp_path.iterdir()} == before


def test_smaller_can_be_better(tmp_path):
    progress = Progress(
        tmp_path, AlignConfig(), dict, "loss", larger_is_better=False, seed=0, name="x"
    )
    progress.history = [{"loss": 3.0}, {"loss": 1.0}, {"loss": 1.0}, {"loss": 2.0}]
    assert progress.best_epoch == 1
    assert progress.epochs_without_gain == 2


def test_plateau_lowers_the_learning_rate_and_remembers_it(tmp_path):
    model, _ = training(tmp_path / "a", [3, 2, 2, 2], schedule="plateau", epochs=2)
    assert float(model.optimizer.learning_rate) == pytest.approx(0.005)
    training(tmp_path / "b", [3, 2, 2, 2], schedule="plateau", epochs=3, kill_in=2)
    resumed, _ = training(tmp_path / "b", [3, 2, 2, 2], schedule="plateau", epochs=3)
    assert float(resumed.optimizer.learning_rate) == pytest.approx(0.0005)


def test_a_full_disk_leaves_the_last_whole_epoch(tmp_path, monkeypatch):
    training(tmp_path, kill_in=2)

    def full(*arguments, **keywords):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(np, "savez", full)
        with pytest.raises(OSError, match="No space left"):
            training(tmp_path)
    assert json.loads((tmp_path / "progress.json").read_text())["epochs"] == 2
    resumed, _ = training(tmp_path)
    whole, _ = training(tmp_path / "whole")
    np.testing.assert_array_equal(resumed.dense.kernel, whole.dense.kernel)
