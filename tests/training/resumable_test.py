"""Resumable trainings: an interruption at any step changes no number."""

import io
import json
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
import tqdm

from visem_tf.config import AlignConfig
from visem_tf.errors import UserError
from visem_tf.training.optimizers import make_optimizer
from visem_tf.training.resumable import ResumableTraining

STEPS = 3


@keras.saving.register_keras_serializable(package="visem_tf_tests")
class Line(keras.Model):
    """Linear regression with dropout."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.drop = keras.layers.Dropout(0.5)
        self.dense = keras.layers.Dense(1)

    def build(self, shape):
        self.dense.build(shape)
        self.built = True

    def call(self, x, training=False):
        return self.dense(self.drop(x, training=training))


class Interrupted(BaseException):
    """An interruption of the training."""


def batches(part):
    rows = tf.random.stateless_uniform([6 * STEPS * 8, 4], [1, 2])
    data = tf.data.Dataset.from_tensor_slices((rows, tf.reduce_sum(rows, 1, keepdims=True)))
    return data.batch(8).skip(part.epoch * STEPS + part.step)


class InterruptedTraining(ResumableTraining):
    """A training that is interrupted after a step of an epoch, once the step is saved."""

    interrupt_after = None

    def on_train_batch_end(self, batch, logs=None):
        super().on_train_batch_end(batch, logs)
        if (len(self.history), self.step) == self.interrupt_after:
            raise Interrupted


def make_training(folder, settings=None, *, validate=dict, monitor="figure", mode="max", **options):
    options = {"steps_per_epoch": STEPS, "seed": 3, "name": "line", **options}
    return InterruptedTraining(
        folder, settings or AlignConfig(), validate, monitor, mode, **options
    )


def run_training(
    folder, values=(1, 2, 3, 4, 5), *, kill_in=None, kill_after=None, options=None, **changes
):
    """Trains; `values` are the validation results of the epochs, `kill_in` is an epoch."""
    keras.utils.set_random_seed(7)
    model = Line()
    model.build((None, 4))
    model.compile(optimizer=keras.optimizers.Adam(0.05), loss="mse", run_eagerly=True)
    settings = AlignConfig(**{"epochs": 5, "patience": 9, "schedule": "constant", **changes})

    def validate():
        epoch = len(training.history)
        if epoch == kill_in:
            raise Interrupted
        return {"figure": values[epoch]}

    training = make_training(folder, settings, validate=validate, **(options or {}))
    training.interrupt_after = kill_after
    try:
        training.run(model, batches)
    except Interrupted:
        return None, training
    return model, training


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory):
    """A training without interruption: the model and the training."""
    return run_training(tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize("epoch", [0, 3])
def test_resumes_after_an_epoch_with_the_same_numbers(tmp_path, epoch, whole_run):
    whole, whole_training = whole_run
    run_training(tmp_path / "killed", kill_in=epoch)
    resumed, training = run_training(tmp_path / "killed")
    for a, b in zip(whole.variables, resumed.variables, strict=True):
        np.testing.assert_array_equal(a, b)
    assert training.history == whole_training.history


@pytest.mark.parametrize(("epoch", "step"), [(0, 1), (4, 2)])
def test_resumes_within_an_epoch_with_the_same_numbers(tmp_path, epoch, step, whole_run):
    whole, whole_training = whole_run
    always = {"options": {"save_seconds": 1e-9}}
    run_training(tmp_path / "killed", kill_after=(epoch, step), **always)
    saved = json.loads((tmp_path / "killed" / "progress.json").read_text())
    assert (saved["epochs"], saved["step"]) == (epoch, step)
    resumed, training = run_training(tmp_path / "killed", **always)
    for a, b in zip(whole.variables, resumed.variables, strict=True):
        np.testing.assert_array_equal(a, b)
    assert training.history == whole_training.history  # also the mean loss of the interrupted epoch


def test_saves_within_an_epoch_only_when_it_is_time(tmp_path):
    run_training(tmp_path, kill_after=(1, 2), options={"save_seconds": 3600})
    assert json.loads((tmp_path / "progress.json").read_text())["step"] == 0
    assert [path.name for path in tmp_path.glob("last-*")] == ["last-1-0.npz"]


def test_resumes_from_the_files_of_version_0_1_0(tmp_path, whole_run):
    run_training(tmp_path, kill_in=2)
    (tmp_path / "last-2-0.npz").rename(tmp_path / "last-2.npz")
    saved = json.loads((tmp_path / "progress.json").read_text())
    del saved["step"]
    (tmp_path / "progress.json").write_text(json.dumps(saved))
    resumed, _ = run_training(tmp_path)
    np.testing.assert_array_equal(resumed.dense.kernel, whole_run[0].dense.kernel)


def test_dropout_differs_between_epochs(tmp_path):
    model, _ = run_training(tmp_path, epochs=1)
    states = []
    training = make_training(tmp_path)
    training.set_model(model)
    for epoch in (0, 1, 0):
        training.on_epoch_begin(epoch)
        states.append(model.drop.seed_generator.state.numpy().tolist())
    assert states[0] == states[2] != states[1]


def test_keeps_the_best_epoch_and_stops_when_patience_ends(tmp_path):
    _, training = run_training(tmp_path, [1, 5, 2, 3, 4], patience=2)
    assert len(training.history) == 4
    assert training.best_epoch == 1
    best = keras.saving.load_model(tmp_path / "best.keras", compile=False)
    again, _ = run_training(tmp_path / "two", epochs=2)
    np.testing.assert_array_equal(best.dense.kernel, again.dense.kernel)


def test_a_finished_training_is_not_touched(tmp_path):
    run_training(tmp_path, epochs=2)
    before = {p.name: p.stat().st_mtime_ns for p in tmp_path.iterdir()}
    model, training = run_training(tmp_path, epochs=2, kill_in=0)
    assert model is not None
    assert training.finished
    assert {p.name: p.stat().st_mtime_ns for p in tmp_path.iterdir()} == before


def test_a_finished_training_takes_more_epochs(tmp_path, whole_run):
    whole, whole_training = whole_run
    run_training(tmp_path, epochs=2)
    model, training = run_training(tmp_path)
    for a, b in zip(whole.variables, model.variables, strict=True):
        np.testing.assert_array_equal(a, b)
    assert training.history == whole_training.history


def test_a_longer_cosine_goes_on_where_it_would_be(tmp_path):
    """The rest of the epochs follow the cosine of the longer training."""
    rates = []

    def train(epochs):
        model = Line()
        model.build((None, 4))
        settings = AlignConfig(epochs=epochs, patience=9, learning_rate=0.5)
        model.compile(optimizer=make_optimizer(settings, STEPS), loss="mse", run_eagerly=True)

        def validate():
            rates.append(float(model.optimizer.learning_rate))
            return {"figure": 0}

        make_training(tmp_path, settings, validate=validate).run(model, batches)

    train(2)
    train(4)
    done = np.array([1 / 2, 1, 3 / 4, 1])  # of 2 epochs, then of 4
    np.testing.assert_allclose(rates, 0.25 * (1 + np.cos(np.pi * done)), atol=1e-6)


def test_a_larger_patience_lets_a_stopped_training_go_on(tmp_path, capsys):
    values = [1, 5, 2, 3, 4, 6]
    run_training(tmp_path, values, patience=2)
    _, training = run_training(tmp_path, values, patience=2, epochs=6)
    assert len(training.history) == 4
    assert "line: stopped after 4 of 6 epochs, because the last 2" in capsys.readouterr().out
    _, training = run_training(tmp_path, values, patience=4, epochs=6)
    assert [metrics["figure"] for metrics in training.history] == values
    assert training.best_epoch == 5


def test_smaller_can_be_better(tmp_path):
    training = make_training(tmp_path, monitor="loss", mode="min")
    training.history = [{"loss": 3.0}, {"loss": 1.0}, {"loss": 1.0}, {"loss": 2.0}]
    assert training.best_epoch == 1
    assert training.epochs_without_improvement == 2


def test_plateau_lowers_the_learning_rate_and_remembers_it(tmp_path):
    model, _ = run_training(tmp_path / "a", [3, 2, 2, 2], schedule="plateau", epochs=2)
    assert float(model.optimizer.learning_rate) == pytest.approx(0.005)
    run_training(tmp_path / "b", [3, 2, 2, 2], schedule="plateau", epochs=3, kill_in=2)
    resumed, _ = run_training(tmp_path / "b", [3, 2, 2, 2], schedule="plateau", epochs=3)
    assert float(resumed.optimizer.learning_rate) == pytest.approx(0.0005)


@pytest.mark.parametrize("kill_after", [None, (0, 2), (1, 1), (2, 2)])
def test_the_rate_is_warmed_up_before_plateaus_lower_it(tmp_path, kill_after):
    settings = AlignConfig(
        schedule="plateau", warmup_steps=4, learning_rate=0.04, epochs=4, patience=9
    )
    rates, always = [], {"save_seconds": 1e-9}

    class Recorder(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            rates.append(float(self.model.optimizer.learning_rate))

    def train(interrupt_after=None):
        model = Line()
        model.build((None, 4))
        model.compile(make_optimizer(settings, STEPS), loss="mse", run_eagerly=True)
        training = make_training(tmp_path, settings, validate=lambda: {"figure": 1}, **always)
        training.interrupt_after = interrupt_after
        training.run(model, batches, [Recorder()])

    if kill_after:
        with pytest.raises(Interrupted):
            train(kill_after)
    train()
    expected = [0.01, 0.02, 0.03, 0.04, 0.04, 0.04, *3 * [0.004], *3 * [0.0004]]
    np.testing.assert_allclose(rates, expected, rtol=1e-5)


def test_a_full_disk_leaves_the_last_whole_epoch(tmp_path, monkeypatch, whole_run):
    run_training(tmp_path, kill_in=2)

    def full(*arguments, **keywords):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(np, "savez", full)
        with pytest.raises(OSError, match="No space left"):
            run_training(tmp_path)
    assert json.loads((tmp_path / "progress.json").read_text())["epochs"] == 2
    resumed, _ = run_training(tmp_path)
    np.testing.assert_array_equal(resumed.dense.kernel, whole_run[0].dense.kernel)


@pytest.mark.parametrize("damaged", ["last-3-0.npz", "last-3-1.npz", "progress.json"])
@pytest.mark.parametrize("content", [b"", b"{]", None])
def test_damage_is_named_and_the_last_whole_state_goes_on(
    tmp_path, damaged, content, whole_run, capsys
):
    within = {"kill_after": (3, 1), "options": {"save_seconds": 1e-9}}
    run_training(tmp_path, **(within if damaged == "last-3-1.npz" else {"kill_in": 3}))
    file = tmp_path / damaged
    file.write_bytes(file.read_bytes()[:-9] if content is None else content)
    capsys.readouterr()
    resumed, training = run_training(tmp_path)
    assert f"warning: {file} is damaged" in capsys.readouterr().err
    for a, b in zip(whole_run[0].variables, resumed.variables, strict=True):
        np.testing.assert_array_equal(a, b)
    assert training.history == whole_run[1].history


def test_without_any_whole_state_the_folder_is_to_be_deleted(tmp_path):
    run_training(tmp_path, kill_in=1)
    (tmp_path / "last-1-0.npz").write_bytes(b"")
    with pytest.raises(UserError, match=f"delete {tmp_path} to train this model from the begin"):
        run_training(tmp_path)


def test_a_state_of_another_model_is_not_restored(tmp_path):
    run_training(tmp_path, kill_in=1)
    arrays = dict(np.load(tmp_path / "last-1-0.npz"))
    np.savez(tmp_path / "last-1-0.npz", **{**arrays, "model-0": np.zeros(9)})
    with pytest.raises(UserError, match="model-0 is missing or has another shape"):
        run_training(tmp_path)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_training_that_diverges_ends_and_keeps_the_best_epoch(tmp_path, bad, whole_run):
    for _ in range(2):  # the second call resumes after the second epoch
        with pytest.raises(UserError) as raised:
            run_training(tmp_path, [2, 1, bad])
        assert str(raised.value) == (
            f"line: the training diverged in epoch 3 (figure is {bad}); try a smaller learning "
            f"rate (--align.learning_rate) in another --run-dir; {tmp_path / 'best.keras'} has the "
            "best epoch, 1"
        )
    assert json.loads((tmp_path / "progress.json").read_text())["epochs"] == 2
    resumed, _ = run_training(tmp_path)
    np.testing.assert_array_equal(resumed.dense.kernel, whole_run[0].dense.kernel)


def test_the_best_epoch_is_one_with_a_number(tmp_path):
    for mode in ("max", "min"):
        training = make_training(tmp_path, mode=mode)
        training.history = [{"figure": float("nan")}, {"figure": 1.0}, {"figure": float("nan")}]
        assert training.best_epoch == 1


def test_an_interrupted_epoch_begins_only_once(tmp_path):
    begun = []
    options = {"save_seconds": 1e-9, "before_epoch": lambda model, epoch: begun.append(epoch)}
    run_training(tmp_path, kill_after=(1, 2), options=options, epochs=3)
    run_training(tmp_path, options=options, epochs=3)
    assert begun == [0, 1, 2]


def test_another_function_can_save_the_best_model(tmp_path):
    saved = []
    options = {"save_best": lambda model, path: saved.append(path)}
    run_training(tmp_path, [1, 3, 2], options=options, epochs=3)
    assert saved == [tmp_path / "best.keras"] * 2


class Terminal(io.StringIO):
    def isatty(self):
        return True


class ImmediateBar(tqdm.tqdm):
    """Shows every update at once."""

    def __init__(self, **options):
        super().__init__(**{**options, "delay": 0, "mininterval": 0, "miniters": 0})


def test_a_terminal_shows_the_progress_over_all_epochs(tmp_path, monkeypatch):
    run_training(tmp_path, kill_in=1)
    monkeypatch.setattr("tqdm.tqdm", ImmediateBar)
    monkeypatch.setattr("sys.stderr", terminal := Terminal())
    run_training(tmp_path)
    shown = terminal.getvalue()
    assert re.search(r"line: .*14/15 .*<\d\d:\d\d.*loss=\d", shown), shown
    assert "2/15" not in re.sub(r"1\d/15", "", shown)  # an epoch was finished before


def test_a_file_shows_no_progress_bar(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.stderr", file := io.StringIO())
    run_training(tmp_path, epochs=1)
    assert file.getvalue() == ""
