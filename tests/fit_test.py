"""`python -m visem_tf.fit`: a whole tiny run, resumed, killed, and refused."""

import json
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from fit_process import FitProcess, Work

from tests.conftest import quick_stages
from visem_tf import fit
from visem_tf.errors import UserError
from visem_tf.publish import publish
from visem_tf.runs.trained_run import TrainedRun
from visem_tf.text import DETERMINERS, FUNCTION_WORDS


@pytest.fixture
def copy(untrained_run, tmp_path):
    """A copy of the untrained run, and the command that made it."""
    path = tmp_path / "run"
    shutil.copytree(untrained_run.path, path)
    where = ["--run-dir", str(path), "--cache-dir", str(untrained_run.cache_dir)]
    return path, ["--config", str(untrained_run.path / "config.json"), *where]


def test_alignments_name_the_region_of_every_word_and_the_box_of_every_phrase(untrained_run):
    lines = [json.loads(line) for line in (untrained_run.path / "alignments.jsonl").open()]
    known = set((untrained_run.path / "vocabulary.txt").read_text().split())
    function_words = FUNCTION_WORDS & known  # an unknown word may be a name
    assert len(lines) == 6 * 5
    for line in lines:
        assert line["sentence_id"].startswith(f"{line['image_id']}#")
        assert len(line["regions"]) == len(line["tokens"])
        covered: list[int] = []
        for segment in line["segments"]:
            words = line["tokens"][segment["first"] : segment["last"] + 1]
            assert segment["text"] == " ".join(words)
            ymin, xmin, ymax, xmax = segment["box"]
            assert 0 <= ymin < ymax <= 1
            assert 0 <= xmin < xmax <= 1
            assert words[-1] not in function_words
            assert words[0] not in function_words - DETERMINERS
            covered += range(segment["first"], segment["last"] + 1)
        assert covered == sorted(set(covered))
    assert any(line["segments"] for line in lines)


def test_captions_are_in_coco_results_format(untrained_run):
    for name in ("captions_test.json", "captions_test_greedy.json"):
        results = json.loads((untrained_run.path / name).read_text())
        assert len(results) == 10
        assert all(set(result) == {"image_id", "caption"} for result in results)


def test_the_same_command_again_changes_nothing(copy, capsys):
    run_dir, command = copy
    before = {p: p.stat().st_mtime_ns for p in run_dir.rglob("*") if p.is_file()}
    fit.main(command)
    assert capsys.readouterr().out.count("finished before, skipped") == 5
    assert {p: p.stat().st_mtime_ns for p in run_dir.rglob("*") if p.is_file()} == before


def test_another_configuration_is_refused_with_the_fields(copy):
    with pytest.raises(UserError, match=r"align\.margin .*1\.0.*0\.5"):
        fit.main([*copy[1], "--align.margin", "0.5"])


@pytest.mark.slow
def test_lost_features_are_made_again_when_a_stage_misses_them(copy, tmp_path, capsys):
    run_dir, command = copy
    command += ["--cache-dir", str(tmp_path / "empty")]
    with quick_stages():
        fit.main(command)
    assert "features: finished before, skipped" in capsys.readouterr().out
    state = json.loads((run_dir / "state.json").read_text())
    state["stages"]["infer"]["done"] = False
    (run_dir / "state.json").write_text(json.dumps(state))
    with quick_stages():
        fit.main([*command, "--stages", "features,infer"])
    out = capsys.readouterr().out
    assert "features: finished in" in out and "infer: finished in" in out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("trained", "stage"), [("align", "align"), ("generate/full_frame", "generate")]
)
def test_either_model_alone_is_evaluated_and_shown(copy, trained, stage):
    run_dir, command = copy
    for name in ("align", "generate/full_frame", "generate/regions"):
        if name != trained:
            shutil.rmtree(run_dir / "checkpoints" / name)
    state = json.loads((run_dir / "state.json").read_text())
    state["stages"] = {name: state["stages"][name] for name in ("features", stage)}
    (run_dir / "state.json").write_text(json.dumps(state))
    with quick_stages():
        fit.main([*command, "--stages", "evaluate,report", "--evaluate.resamples", "0"])
    metrics = json.loads((run_dir / "metrics.json").read_text())
    assert (metrics["ranking"] is None) == (stage == "generate")
    assert (metrics["captions"] is None) == (stage == "align")
    absent = "ranking" if stage == "generate" else "captions"
    assert "not trained" in metrics["notes"][absent]
    assert "not trained" in (run_dir / "report.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_kill_in_the_middle_of_training_changes_no_figure(tiny_run, tmp_path):
    killed = tmp_path / "killed"
    command = ["--config", str(tiny_run.path / "config.json"), "--run-dir", str(killed)]
    command += ["--cache-dir", str(tiny_run.cache_dir), "--stages", "features,align,infer,generate"]
    work = Work([command], killed_in="align", eager=True)  # as the other run was trained
    status, output = FitProcess(work, tmp_path / "output.txt").wait()
    assert status == -signal.SIGKILL, output
    with quick_stages():
        fit.main(command)
    for stage in ("align", "generate/full_frame", "generate/regions"):
        whole, resumed = (
            json.loads((run / "checkpoints" / stage / "progress.json").read_text())["history"]
            for run in (tiny_run.path, killed)
        )
        assert resumed == whole


@pytest.mark.slow
def test_a_finished_training_goes_on(tiny_run, tmp_path, capsys):
    longer = tmp_path / "run"
    shutil.copytree(tiny_run.path, longer)
    history = longer / "checkpoints" / "align" / "progress.json"
    before = json.loads(history.read_text())["history"]
    command = ["--run-dir", str(longer), "--cache-dir", str(tiny_run.cache_dir)]
    stages = ["--stages", "features,align,infer,generate"]
    with quick_stages():
        fit.main([*command, *stages, "--align.epochs", str(len(before) + 1)])
    after = json.loads(history.read_text())["history"]
    assert after[:-1] == before and len(after) == len(before) + 1
    printed = capsys.readouterr().out
    assert "generate: finished before, skipped" in printed
    assert "align: finished in" in printed and "infer: finished in" in printed
    fit.main([*command, *stages])  # the longer training is the recorded one
    assert capsys.readouterr().out.count("finished before, skipped") == 4


@pytest.mark.slow
def test_a_run_starts_from_a_published_model(tiny_run, tmp_path, capsys):
    publish(TrainedRun(tiny_run.path), str(tmp_path / "model"), "model")
    source = TrainedRun(tmp_path / "model")
    source_config = json.loads((tiny_run.path / "config.json").read_text())
    data = ["--dataset", "coco_json", "--data-dir", source_config["data_dir"]]
    places = ["--run-dir", str(tmp_path / "run"), "--cache-dir", str(tiny_run.cache_dir)]
    start = ["--init-from", str(tmp_path / "model"), "--freeze", "word_vectors,region_encoder"]
    epochs = ["--align.epochs", "1", "--generate.epochs", "1"]
    command = [*data, *places, *start, *epochs]
    with quick_stages():
        fit.main([*command, "--stages", "features,align,infer,generate"])
    printed = capsys.readouterr().out
    for title in ("alignment", "full-frame generator", "region generator"):
        assert f"{title}: starts from {tmp_path / 'model'}; 0 words are new" in printed
    run = TrainedRun(tmp_path / "run")
    assert run.vocabulary.words == source.vocabulary.words
    for part in ("word_vectors", "word_projection"):
        old, new = (
            getattr(each.alignment_model.sentence_encoder, part).get_weights()[0]
            for each in (source, run)
        )
        assert np.array_equal(old, new) == (part == "word_vectors")


def test_mistakes_end_with_two_and_a_line():
    process = subprocess.run(
        [sys.executable, "-m", "visem_tf.fit", "--align.batch_sise", "5"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=120,
    )
    assert process.returncode == 2
    output = process.stdout.decode()
    assert output.strip().count("\n") <= 1
    assert "align.batch_size" in output
