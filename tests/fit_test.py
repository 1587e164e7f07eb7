"""`python -m visem_tf.fit`: a whole tiny run, resumed, killed, and refused."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from visem_tf import fit
from visem_tf.errors import UserError
from visem_tf.text import DETERMINERS, FUNCTION_WORDS

TINY = {
    "--preset": "smoke",
    "--regions.picture_size": "96",
    "--regions.num_regions": "4",
    "--align.epochs": "2",
    "--generate.epochs": "1",
    "--generate.beam_size": "2",
    "--evaluate.beam_size": "2",
}
WORK = "features,align,infer,generate,evaluate"


def arguments(run_dir, cache_dir, **changes):
    """The command line of a tiny run; `changes` name options without their dashes."""
    options = {**TINY, "--run-dir": run_dir, "--cache-dir": cache_dir, "--stages": WORK}
    options.update({f"--{name.replace('__', '.')}": value for name, value in changes.items()})
    return [str(part) for pair in options.items() for part in pair]


@pytest.fixture(scope="module")
def cache_dir(tiny_run):
    return tiny_run.cache_dir


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory, tiny_run):
    """A copy of the run of all tests, which was trained with `TINY`."""
    path = tmp_path_factory.mktemp("runs") / "tiny"
    shutil.copytree(tiny_run.path, path)
    return path


def test_alignments_name_the_region_of_every_word_and_the_box_of_every_phrase(run_dir):
    lines = [json.loads(line) for line in (run_dir / "alignments.jsonl").open()]
    assert len(lines) == 160 * 5
    for line in lines[:50]:
        assert line["sentence_id"].startswith(f"{line['image_id']}#")
        assert len(line["regions"]) == len(line["tokens"])
        covered: list[int] = []
        for segment in line["segments"]:
            words = line["tokens"][segment["first"] : segment["last"] + 1]
            assert segment["text"] == " ".join(words)
            ymin, xmin, ymax, xmax = segment["box"]
            assert 0 <= ymin < ymax <= 1
            assert 0 <= xmin < xmax <= 1
            assert words[-1] not in FUNCTION_WORDS
            assert words[0] not in FUNCTION_WORDS - DETERMINERS
            covered += range(segment["first"], segment["last"] + 1)
        assert covered == sorted(set(covered))
        left_out = set(range(len(line["tokens"]))) - set(covered)
        assert all(line["tokens"][word] in FUNCTION_WORDS for word in left_out)


def test_captions_are_in_coco_results_format(run_dir):
    for name in ("captions_test.json", "captions_test_greedy.json"):
        results = json.loads((run_dir / name).read_text())
        assert len(results) == 40
        assert all(set(result) == {"image_id", "caption"} for result in results)


def test_vocabulary_begins_with_the_special_words(run_dir):
    words = (run_dir / "vocabulary.txt").read_text().splitlines()
    assert words[:4] == ["<pad>", "<start>", "<end>", "<unk>"]


def test_the_same_command_again_changes_nothing(run_dir, cache_dir, capsys):
    before = {p: p.stat().st_mtime_ns for p in run_dir.rglob("*") if p.is_file()}
    fit.main(arguments(run_dir, cache_dir))
    assert "finished before, skipped" in capsys.readouterr().out
    assert {p: p.stat().st_mtime_ns for p in run_dir.rglob("*") if p.is_file()} == before


@pytest.mark.slow
def test_lost_features_are_made_again_when_a_stage_misses_them(run_dir, tmp_path, capsys):
    copy, empty = tmp_path / "copy", tmp_path / "empty"
    shutil.copytree(run_dir, copy)
    fit.main(arguments(copy, empty))
    assert "features: finished before, skipped" in capsys.readouterr().out
    evaluate_again = arguments(copy, empty, stages="features,evaluate")
    state = json.loads((copy / "state.json").read_text())
    state["stages"]["evaluate"]["done"] = False
    (copy / "state.json").write_text(json.dumps(state))
    fit.main(evaluate_again)
    out = capsys.readouterr().out
    assert "features: finished in" in out and "evaluate: finished in" in out


def test_another_configuration_is_refused_with_the_fields(run_dir, cache_dir):
    with pytest.raises(UserError, match=r"align\.margin .*1\.0.*0\.5"):
        fit.main(arguments(run_dir, cache_dir, align__margin="0.5"))


def run_process(command):
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.Popen(
        [sys.executable, "-m", "visem_tf.fit", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
    )


@pytest.mark.slow
def test_a_kill_in_the_middle_of_training_changes_no_metric(run_dir, cache_dir, tmp_path):
    killed = tmp_path / "killed"
    command = arguments(killed, cache_dir)
    process = run_process(command)
    started = time.monotonic()
    while not (killed / "checkpoints" / "align" / "progress.json").exists():
        assert process.poll() is None, process.stdout.read().decode()
        assert time.monotonic() - started < 300
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (killed / "metrics.json").exists()
    fit.main(command)
    expected = json.loads((run_dir / "metrics.json").read_text())
    found = json.loads((killed / "metrics.json").read_text())
    for part in ("ranking", "captions", "regions"):
        assert found[part] == expected[part]


def test_mistakes_end_with_two_and_a_line():
    process = run_process(["--align.batch_sise", "5"])
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 2
    assert output.decode().strip().count("\n") <= 1
    assert "align.batch_size" in output.decode()
