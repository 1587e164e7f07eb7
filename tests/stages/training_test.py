"""All trainings are set up alike: they take a step, save within an epoch, and resume exactly."""

import json
import shutil
import unittest.mock
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from untrained import replace_config

from visem_tf.config import Config
from visem_tf.runs.checkpoints import read_or_build_vocabulary
from visem_tf.runs.context import Context
from visem_tf.runs.opening import open_run
from visem_tf.stages import align, finetune, generate, joint, propose, self_critical, self_train
from visem_tf.stages.training import open_pairs
from visem_tf.training.batches import Part
from visem_tf.training.resumable import ResumableTraining

pytestmark = pytest.mark.usefixtures("quick", "small_cnn")


def train_cnn(context: Context) -> Any:
    return finetune.run(context, read_or_build_vocabulary(context))


def train_on_own_regions(context: Context) -> Any:
    return self_train.run(context, read_or_build_vocabulary(context))


def train_on_swapped_nouns(context: Context) -> Any:
    """Trains with false sentences; the few words of the run are replaced by the next two."""
    words = np.arange(len(read_or_build_vocabulary(context)))
    following = 4 + (words[:, np.newaxis] - 4 + np.array([1, 2])) % (len(words) - 4)
    substitutes = np.where(words[:, np.newaxis] < 4, 0, following).astype(np.int32)
    with unittest.mock.patch.object(align, "find_substitutes", return_value=substitutes):
        return align.run(context)


def train_on_cider(context: Context) -> Any:
    vocabulary = read_or_build_vocabulary(context)
    pairs = open_pairs(context, vocabulary)
    return self_critical.fine_tune(context, pairs, vocabulary, "full_frame", context.config.seed)


TRAININGS: dict[str, tuple[Callable[[Context], Any], str, dict[str, Any]]] = {
    "propose": (
        propose.run,
        "propose",
        {
            "regions.proposer": "trained",
            "propose.epochs": 2,
            "propose.channels": 8,
            "propose.batch_size": 8,
        },
    ),
    "align": (align.run, "align", {"align.epochs": 2, "align.batch_size": 15}),
    "swaps": (
        train_on_swapped_nouns,
        "align",
        {
            "align.epochs": 2,
            "align.batch_size": 15,
            "align.swap_weight": 0.5,
            "align.region_context": "frame",
        },
    ),
    "generate": (
        generate.run,
        "generate/full_frame",
        {
            "generate.epochs": 2,
            "generate.batch_size": 15,
            "generate.regions": False,
            "generate.mirror": True,
        },
    ),
    "attention": (
        generate.run,
        "generate/full_frame",
        {
            "generate.model": "attention",
            "generate.mirror": True,
            "generate.epochs": 2,
            "generate.batch_size": 15,
            "generate.regions": False,
        },
    ),
    "joint": (
        joint.run,
        "align",
        {
            "joint.train": True,
            "joint.reinfer_every": 1,
            "align.epochs": 2,
            "align.batch_size": 15,
            "align.region_context": "frame",
            "generate.model": "attention",
            "align.word_dim": 8,
            "generate.word_dim": 8,
        },
    ),
    "finetune": (
        train_cnn,
        "finetune",
        {
            "align.finetune_epochs": 2,
            "align.finetune_from": 8,
            "align.finetune_batch_size": 3,
            "align.finetune_sentences": 2,
            "align.mirror": True,
        },
    ),
    "self_training": (
        train_on_own_regions,
        "self_training",
        {
            "align.self_training_epochs": 2,
            "align.self_training_batch_size": 3,
            "align.self_training_sentences": 2,
            "align.mirror": True,
        },
    ),
    "self_critical": (
        train_on_cider,
        "generate/full_frame_cider",
        {"generate.cider_epochs": 2, "generate.cider_samples": 2, "generate.cider_batch_size": 3},
    ),
}
"""How each training starts, the folder of its checkpoints, and its options."""


class Interrupted(BaseException):
    """An interruption of the training."""


@pytest.fixture
def open_copy(untrained_run, tmp_path: Path) -> Callable[..., Context]:
    """Opens a copy of the untrained run with other options."""

    def open_copy(name: str, **changes: Any) -> Context:
        copy = tmp_path / name
        if not copy.exists():
            shutil.copytree(untrained_run.path, copy)
        recorded = Config.from_json((copy / "config.json").read_text(encoding="utf-8"))
        config = recorded.updated({"run_dir": str(copy), "report.every": 0, **changes})
        replace_config(copy, config)
        return open_run(config)

    return open_copy


@pytest.mark.parametrize("kind", TRAININGS)
def test_every_training_takes_a_step_and_saves_within_epochs(
    kind: str, open_copy: Callable[..., Context], monkeypatch: pytest.MonkeyPatch
):
    start, folder, changes = TRAININGS[kind]
    seen = []

    def run(training, model, make_dataset, callbacks) -> None:
        seen.append((training, callbacks))
        before = [np.array(variable) for variable in model.trainable_variables]
        model.optimizer.build(model.trainable_variables)
        for callback in callbacks:
            callback.set_model(model)
        logs = model.train_step(next(iter(make_dataset(Part()))))
        assert np.isfinite([float(value) for value in logs.values()]).all()
        after = [np.array(variable) for variable in model.trainable_variables]
        assert any((a != b).any() for a, b in zip(before, after, strict=True))
        raise Interrupted

    monkeypatch.setattr(ResumableTraining, "run", run)
    options = {"compute.save_seconds": 7, "report.profile": True}
    context = open_copy(kind, **changes, **options)
    with pytest.raises(Interrupted):
        start(context)
    [(training, callbacks)] = seen
    assert training.save_seconds == 7
    assert training.folder == context.run / "checkpoints" / folder
    assert callbacks[0].profile and callbacks[0].log_dir == context.run / "tensorboard"


@pytest.mark.parametrize("module", [align, joint])
@pytest.mark.parametrize("share", [1.0, 0.5])
def test_a_collapsed_alignment_is_reported(
    module: Any,
    share: float,
    open_copy: Callable[..., Context],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
):
    monkeypatch.setattr(module, "train_model", lambda *_, **__: {"collapsed": share})
    monkeypatch.setattr(module.bank, "write", lambda *_: None)
    _, _, changes = TRAININGS["joint" if module is joint else "align"]
    module.run(open_copy("collapsed", **changes))
    warning = "visem_tf: warning: the alignment has collapsed"
    assert (warning in capsys.readouterr().err) == (share == 1.0)


def test_features_before_the_training_of_the_cnn_are_made_again(
    open_copy: Callable[..., Context], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def run(training, model, *_) -> None:
        raise Interrupted

    monkeypatch.setattr(ResumableTraining, "run", run)
    changes = {**TRAININGS["finetune"][2], "cache_dir": str(tmp_path / "cache")}  # no features
    with pytest.raises(Interrupted):
        align.run(open_copy("finetune", **changes))


def test_a_longer_training_invalidates_the_one_on_cider(
    open_copy: Callable[..., Context], monkeypatch: pytest.MonkeyPatch
):
    def run(training, model, *_) -> None:
        training.before_epoch(model, 3)
        raise Interrupted

    monkeypatch.setattr(ResumableTraining, "run", run)
    start, _, changes = TRAININGS["generate"]
    context = open_copy("generate", **changes)
    folders = [
        context.run / "checkpoints" / "generate" / f"{n}_cider" for n in ("regions", "full_frame")
    ]
    for folder in folders:
        folder.mkdir()
    with pytest.raises(Interrupted):
        start(context)
    assert [folder.exists() for folder in folders] == [True, False]


@pytest.mark.parametrize("kind", ["align", "finetune", "self_training", "self_critical"])
def test_frozen_parts_stay_frozen_in_every_training(
    kind: str, untrained_run, open_copy: Callable[..., Context], monkeypatch: pytest.MonkeyPatch
):
    start, _, changes = TRAININGS[kind]
    seen: list[Any] = []

    def run(training, model, *_) -> None:
        seen.append(model)
        raise Interrupted

    monkeypatch.setattr(ResumableTraining, "run", run)
    frozen = {"init_from": str(untrained_run.path), "freeze": ["word_vectors", "region_encoder"]}
    with pytest.raises(Interrupted):
        start(open_copy(kind, **changes, **frozen))
    paths = [variable.path for variable in seen[0].trainable_variables]
    assert paths
    assert not [path for path in paths if "word_vectors" in path or "region_encoder" in path]


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind for kind in TRAININGS if kind != "align"])  # as "swaps"
def test_every_training_resumes_with_the_same_numbers(
    kind: str, open_copy: Callable[..., Context], monkeypatch: pytest.MonkeyPatch
):
    """Interrupts the second epoch twice: before a step of it is saved, and after one is."""
    start, folder, changes = TRAININGS[kind]
    start(open_copy("whole", **changes))
    context = open_copy("interrupted", **changes)
    path = context.run / "checkpoints" / folder / "progress.json"
    for save_seconds in (0, 1):
        with monkeypatch.context() as patched:
            # A clock that advances by a second whenever it is asked: every step is saved.
            clock = iter(range(10**9)).__next__
            patched.setattr("visem_tf.training.resumable.time.monotonic", clock)
            patched.setattr(ResumableTraining, "on_train_batch_end", interrupt_at(1, 1))
            with pytest.raises(Interrupted):
                start(open_copy("interrupted", **{"compute.save_seconds": save_seconds}))
        progress = json.loads(path.read_text(encoding="utf-8"))
        assert (progress["epochs"], progress["step"]) == (1, save_seconds)
    start(open_copy("interrupted", **{"compute.save_seconds": 0}))
    whole = json.loads(
        (context.run.path.parent / "whole" / path.relative_to(context.run.path)).read_text()
    )
    resumed = json.loads(path.read_text(encoding="utf-8"))
    assert len(resumed["history"]) == 2
    for one, other in zip(whole["history"], resumed["history"], strict=True):
        assert one == pytest.approx(other, rel=1e-5)


def interrupt_at(epoch: int, step: int) -> Callable[..., None]:
    """A replacement of `on_train_batch_end` that interrupts after a step of an epoch."""
    original = ResumableTraining.on_train_batch_end

    def on_train_batch_end(self, batch, logs=None) -> None:
        original(self, batch, logs)
        if (len(self.history), self.step) == (epoch, step):
            raise Interrupted

    return on_train_batch_end
