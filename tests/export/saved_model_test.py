"""How an export lies on disk, and what is refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from small_cnn import small_cnn

from visem_tf.errors import UserError
from visem_tf.export.__main__ import main
from visem_tf.export.description import Export
from visem_tf.export.saved_model import writer
from visem_tf.export.saved_model.writer import export_saved_model
from visem_tf.runs.run_directory import RunDirectory
from visem_tf.runs.trained_run import TrainedRun
from visem_tf.stages import export as stage

MakeRun = Callable[..., TrainedRun]


@pytest.fixture(scope="module")
def small(make_run: MakeRun, tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    """A run that trained nothing but one generator, and looks for no regions."""
    folder = tmp_path_factory.mktemp("small") / "run"
    return make_run(folder, "generate/full_frame", **{"regions.proposer": "none"})


@pytest.mark.slow
def test_no_variable_is_stored_twice(trained: TrainedRun, exported: Export):
    models: list[Any] = [
        trained.alignment_model,
        trained.full_frame_generator,
        trained.region_generator,
    ]
    sizes = sorted(tuple(weight.shape) for model in models for weight in model.weights)
    stored = tf.train.list_variables(str(exported.path / "variables" / "variables"))
    kept = sorted(tuple(shape) for name, shape in stored if name.endswith("VARIABLE_VALUE"))
    assert kept == sizes
    assert exported.description["parameters"] == sum(model.count_params() for model in models)


@pytest.mark.slow
def test_the_folder(trained: TrainedRun, exported: Export):
    assert exported.path.name == "1"
    assert [path.name for path in exported.path.parent.iterdir()] == ["1"]
    vocabulary = (exported.path / "assets" / "vocabulary.txt").read_bytes()
    assert vocabulary == (trained.run / "vocabulary.txt").read_bytes()
    described = json.loads((exported.path / "export.json").read_text(encoding="utf-8"))
    assert described == exported.description
    assert described["config"]["generate"]["beam_size"] == 3
    assert described["versions"]["tensorflow"] == tf.__version__
    assert described["left_out"] == {}
    assert described["vocabulary_size"] == 10
    assert described["warm_up"] or "pip install" in described["notes"]["warm_up"]
    assert exported.path.stat().st_mode & 0o055 == exported.path.parent.stat().st_mode & 0o055


@pytest.mark.slow
def test_the_table(exported: Export):
    lines = exported.table().splitlines()
    assert lines[0].startswith(f"{exported.path} (")
    assert any("beam: " in line and "captions string [?, 3]" in line for line in lines)
    assert any("saved_model.pb" in line and line.endswith(" MB") for line in lines)


@pytest.mark.parametrize(
    "signature", ["beam_from_features", pytest.param("beam", marks=pytest.mark.slow)]
)
def test_the_command_writes_the_next_version(
    signature: str,
    small: TrainedRun,
    pictures: list[bytes],
    serve: Callable[[Path], Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    takes_images = signature == "beam"
    (tmp_path / "7").mkdir()
    arguments = ["--run-dir", str(small.run.path), "--to", str(tmp_path)]
    with small_cnn():
        main(
            [
                *arguments,
                *("--generate.beam_size", "2", "--generate.max_length", "3"),
                *("--check", str(int(takes_images))),
                *("--unreadable", "fail", "--signatures", f"{signature},score"),
            ]
        )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["7", "8", "serving"]
    printed = capsys.readouterr().out
    assert "captions string [?, 2]" in printed
    assert "score: left out, the run has no model align" in printed
    features = np.random.default_rng(0).normal(size=[1, 1, 1280]).astype(np.float32)
    inputs = {"image_bytes": pictures[:1]} if takes_images else {"region_features": features}
    found = serve(tmp_path / "8")(signature, **inputs)["captions"]
    assert found.shape == (1, 2)
    assert all(len(text.split()) <= 3 for text in found[0])
    described = json.loads((tmp_path / "8" / "export.json").read_text(encoding="utf-8"))
    assert set(described["signatures"]) == {signature}
    assert described["options"]["beam_size"] == 2
    assert described["options"]["unreadable"] == "fail"
    if takes_images:
        assert described["parity"]["beam"] == {"identical": 1, "texts": 1}
    assert set(described["left_out"]) == {"score"}


@pytest.mark.slow
def test_the_stage_replaces_its_version(small: TrainedRun):
    stale = small.run / "saved_model" / "1" / "stale"
    stale.mkdir(parents=True)
    context: Any = SimpleNamespace(run=small.run, config=small.config)
    with small_cnn():
        summary = stage.run(context)
    assert summary["path"] == "saved_model/1"
    assert summary["signatures"][:3] == ["serving_default", "greedy", "beam"]
    assert [path.name for path in (small.run / "saved_model").iterdir()] == ["1"]
    assert not stale.exists()
    assert (small.run / "saved_model" / "1" / "saved_model.pb").is_file()
    assert not stage.is_outdated(context)
    for changes in ({"generate.beam_size": 5}, {"infer.hubness_scale": 0.5}):
        context.config = small.config.updated(changes)
        assert stage.is_outdated(context)
    run = RunDirectory(small.run.path)
    context = SimpleNamespace(run=run, config=small.config)
    run.mark_done("export", 0.0, summary)
    shutil.rmtree(run / "saved_model")
    assert stage.is_outdated(context)
    run.mark_done("export", 0.0, {"signatures": [], "reason": "it cannot be exported"})
    assert not stage.is_outdated(context)


def test_a_failure_leaves_nothing(
    small: TrainedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def fail(signatures, folder):
        folder.mkdir()
        (folder / "half").touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writer, "write_signatures", fail)
    with pytest.raises(OSError, match="No space"):
        export_saved_model(small, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_is_refused(make_run: MakeRun, small: TrainedRun, tmp_path: Path):
    file = tmp_path / "file"
    file.touch()
    for to in (file, file / "deeper"):
        with pytest.raises(UserError, match="give a folder to export to"):
            export_saved_model(small, to)
    changed = small.config.updated({"regions.nms_iou": 0.9, "align.margin": 2.0})
    with pytest.raises(UserError, match="so regions.nms_iou, align.margin cannot change; only"):
        export_saved_model(TrainedRun(small.run.path, changed), tmp_path / "to")
    untrained = make_run(tmp_path / "untrained", **{"regions.proposer": "none"})
    with pytest.raises(UserError, match="no trained model to export; run python -m visem_tf.fit"):
        export_saved_model(untrained, tmp_path / "to")
    with pytest.raises(UserError, match="--format"):
        main(["--run-dir", str(small.run.path), "--format", "onnx"])


def test_a_run_that_cannot_be_written_is_named_before_the_work(small: TrainedRun, tmp_path: Path):
    copy = tmp_path / "run"
    shutil.copytree(small.run.path, copy)
    shutil.rmtree(copy / "saved_model", ignore_errors=True)  # of another test
    (copy / "saved_model").touch()
    with pytest.raises(UserError, match="--to is missing: .*saved_model is not a folder"):
        main(["--run-dir", str(copy)])


def test_a_proposer_outside_the_graph(
    make_run: MakeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    run = make_run(tmp_path / "run", **{"regions.proposer": "selective_search"})
    message = "selective_search runs outside the graph and cannot be exported; train a run with one"
    with pytest.raises(UserError, match=f"{message} of grid, none, retinanet, trained, windows"):
        export_saved_model(run, tmp_path / "to")
    assert not (tmp_path / "to").exists()
    context: Any = SimpleNamespace(run=run.run, config=run.config)
    assert stage.run(context)["signatures"] == []
    assert message in capsys.readouterr().err
