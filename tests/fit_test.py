"""The commands as a user runs them: a whole tiny run, resumed, described, and refused."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from visem_tf import describe, evaluate, fit
from visem_tf.errors import UserError

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


@pytest.fixture
def picture(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
    path = tmp_path / "own picture.png"
    Image.fromarray(pixels).save(path)
    return path


def read(folder, name):
    return (folder / name).read_text(encoding="utf-8")


def test_metrics_have_what_is_promised(run_dir):
    metrics = json.loads((run_dir / "metrics.json").read_text())
    assert (metrics["dataset"], metrics["split"]) == ("scenes", "test")
    assert (metrics["images"], metrics["sentences"]) == (40, 200)
    for direction in ("image_annotation", "image_search"):
        assert set(metrics["ranking"][direction]) == {"r1", "r5", "r10", "median_rank"}
    for search in ("greedy", "beam"):
        scores = metrics["captions"][search]
        assert {"bleu1", "bleu2", "bleu3", "bleu4", "meteor", "rouge_l", "cider"} <= set(scores)
        missing = [name for name, value in scores.items() if value is None]
        assert all(
            any(
                name in about or about.startswith(f"captions.{search}")
                for about in metrics["notes"]
            )
            for name in missing
        )
    assert metrics["captions"]["beam"]["beam_size"] == 2
    regions = metrics["regions"]
    assert {"word_accuracy", "phrase_iou50", "pointing", "bleu1", "chance"} <= set(regions)
    assert set(metrics["timing"]) == {
        f"{stage}_s" for stage in ("features", "align", "infer", "generate", "evaluate")
    }


def test_chance_is_the_expectation(run_dir):
    chance = json.loads((run_dir / "metrics.json").read_text())["ranking_chance"]
    assert chance["image_search"] == {"r1": 2.5, "r5": 12.5, "r10": 25.0, "median_rank": 20.5}
    # One of 5 own sentences among the first of 200: 1 - C(195, 1) / C(200, 1).
    assert chance["image_annotation"]["r1"] == pytest.approx(2.5)
    assert chance["image_annotation"]["r5"] == pytest.approx(12.0, abs=0.1)


def test_alignments_name_every_word_and_its_box(run_dir):
    lines = [json.loads(line) for line in (run_dir / "alignments.jsonl").open()]
    assert len(lines) == 160 * 5
    for line in lines[:50]:
        assert line["sentence_id"].startswith(f"{line['image_id']}#")
        assert len(line["regions"]) == len(line["tokens"])
        covered = []
        for segment in line["segments"]:
            words = line["tokens"][segment["first"] : segment["last"] + 1]
            assert segment["text"] == " ".join(words)
            ymin, xmin, ymax, xmax = segment["box"]
            assert 0 <= ymin < ymax <= 1
            assert 0 <= xmin < xmax <= 1
            covered += range(segment["first"], segment["last"] + 1)
        assert covered == list(range(len(line["tokens"])))


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


@pytest.mark.slow
def test_another_search_for_captions_is_evaluated_and_reported_anew(
    run_dir, cache_dir, tmp_path, capsys
):
    copy = tmp_path / "copy"
    shutil.copytree(run_dir, copy)
    options = {"stages": "evaluate,report", "generate__block_ngrams": "1"}
    fit.main(arguments(copy, cache_dir, **options))
    out = capsys.readouterr().out
    assert "evaluate: finished in" in out and "report: finished in" in out
    captions = [entry["caption"].split() for entry in json.loads(read(copy, "captions_test.json"))]
    assert all(len(words) == len(set(words)) for words in captions)
    fit.main(arguments(copy, cache_dir, **options))
    assert capsys.readouterr().out.count("finished before, skipped") == 2
    # A comparison takes the figures of the search that is asked for, too.
    again = ["--run-dir", str(copy), "--cache-dir", str(cache_dir), "--compare", str(run_dir)]
    evaluate.main([*again, "--generate.block_ngrams", "0", "--generate.beam_size", "2"])
    assert "evaluate: finished in" in capsys.readouterr().out
    before, after = (json.loads(read(run, "metrics.json"))["captions"] for run in (run_dir, copy))
    assert before == after


def test_another_configuration_is_refused_with_the_fields(run_dir, cache_dir):
    with pytest.raises(UserError, match=r"align\.margin .*1\.0.*0\.5"):
        fit.main(arguments(run_dir, cache_dir, align__margin="0.5"))


@pytest.mark.slow
def test_evaluate_on_another_split(run_dir, cache_dir):
    before = json.loads((run_dir / "metrics.json").read_text())
    command = ["--run-dir", str(run_dir), "--cache-dir", str(cache_dir)]
    evaluate.main([*command, "--split", "val"])
    assert json.loads((run_dir / "metrics.json").read_text())["split"] == "val"
    evaluate.main([*command, "--split", "test"])
    after = json.loads((run_dir / "metrics.json").read_text())
    for part in ("ranking", "captions", "regions"):
        assert after[part] == before[part]


def test_evaluate_against_other_systems(run_dir, cache_dir, tmp_path, capsys):
    """The run's own captions, vectors that know the answer, and the run itself as another run."""
    command = ["--run-dir", str(run_dir), "--cache-dir", str(cache_dir)]
    before = json.loads((run_dir / "metrics.json").read_text())
    right = np.repeat(np.eye(40), 5, axis=0)
    np.savez(tmp_path / "v.npz", image_embeddings=np.eye(40), sentence_embeddings=right)
    captions = run_dir / "captions_test.json"
    evaluate.main(
        [
            *command,
            *("--captions", str(captions)),
            *("--against", str(tmp_path / "v.npz")),
            *("--compare", str(run_dir)),
        ]
    )
    out = capsys.readouterr().out
    assert "evaluate: started" not in out  # the run's own figures are there already
    metrics = json.loads((run_dir / "metrics.json").read_text())
    beam = before["captions"]["beam"]
    for name, value in metrics["captions_file"]["scores"].items():
        assert value == beam[name], name
    for name, ends in metrics["captions_file"]["intervals"].items():
        assert ends == before["intervals"][f"captions.beam.{name}"]
    assert metrics["against"]["ranking"]["image_search"]["r1"] == 100
    difference = metrics["against"]["figures"]["ranking.image_search.r1"]
    assert difference["difference"] == before["ranking"]["image_search"]["r1"] - 100
    assert difference["p"] < 0.01
    assert all(
        f["difference"] == 0 and f["p"] == 1 for f in metrics["comparison"]["figures"].values()
    )
    assert "Compared with" in out
    for part in ("ranking", "captions", "regions", "intervals"):
        assert metrics[part] == before[part]


def test_figures_lie_in_their_intervals(run_dir):
    metrics = json.loads((run_dir / "metrics.json").read_text())
    assert len(metrics["intervals"]) > 30
    for name, (low, high) in metrics["intervals"].items():
        value = metrics
        for part in name.split("."):
            value = value[part]
        assert low - 1e-4 <= value <= high + 1e-4, name  # they are rounded


def test_the_written_files_are_read_by_others(run_dir):
    struct = json.loads((run_dir / "result_struct_test.json").read_text())
    assert struct["gtppl"] > 1
    assert len(struct["imgblobs"]) == 40
    assert (run_dir / "metrics.md").read_text().startswith("# scenes, split test: 40 pictures")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--captions", "absent.json"], "cannot read absent.json"),
        (["--against", "absent.npz"], "absent.npz is missing"),
        (["--compare", "absent"], "absent is no run directory"),
        (["--references", "r.json"], "--references is for captions without --run-dir"),
        (["--compare", "."], "is no run directory"),
    ],
)
def test_mistakes_in_comparing(run_dir, cache_dir, options, message):
    with pytest.raises(UserError, match=message):
        evaluate.main(["--run-dir", str(run_dir), "--cache-dir", str(cache_dir), *options])


def test_sizes_of_another_split_are_refused(run_dir, cache_dir, tmp_path):
    np.savez(tmp_path / "v.npz", image_embeddings=np.eye(3), sentence_embeddings=np.eye(3))
    with pytest.raises(UserError, match="3 pictures and 3 sentences, the split has 40 and 200"):
        evaluate.main(
            [
                *("--run-dir", str(run_dir), "--cache-dir", str(cache_dir)),
                *("--against", str(tmp_path / "v.npz")),
            ]
        )


def test_files_are_scored_without_a_run(tmp_path, capsys):
    captions, references, vectors = (tmp_path / n for n in ("c.json", "r.json", "v.npz"))
    captions.write_text(json.dumps([{"image_id": 1, "caption": "a red ball"}]))
    sentence = {"image_id": 1, "id": 5, "caption": "A red ball."}
    references.write_text(json.dumps({"annotations": [sentence]}))
    np.savez(
        vectors,
        image_embeddings=np.eye(2),
        sentence_embeddings=np.eye(2),
        image_index=np.arange(2),
    )
    evaluate.main([f"--captions={captions}", f"--references={references}"])
    out = capsys.readouterr().out
    assert "CIDEr of a single picture is always 0" in out
    assert "100.0" in out
    evaluate.main(["--against", str(vectors)])
    assert "Ranking by" in capsys.readouterr().out
    with pytest.raises(UserError, match="need each other"):
        evaluate.main([f"--references={references}"])
    with pytest.raises(UserError, match="--run-dir is missing"):
        evaluate.main([f"--captions={captions}"])
    np.savez(vectors, image_embeddings=np.eye(2), sentence_embeddings=np.eye(2))
    with pytest.raises(UserError, match="needs image_index"):
        evaluate.main(["--against", str(vectors)])


def test_describe(run_dir, picture, tmp_path, capsys):
    json_file, folder = tmp_path / "out.json", tmp_path / "drawn"
    describe.main(
        [
            "--run-dir",
            str(run_dir),
            str(picture),
            "--json",
            str(json_file),
            "--picture",
            str(folder),
        ]
    )
    out = capsys.readouterr().out
    assert str(picture) in out
    [described] = json.loads(json_file.read_text())
    assert described["caption"] in out
    assert len(described["regions"]) == 4
    assert all(0 <= edge <= 1 for region in described["regions"] for edge in region["box"])
    [drawn] = folder.iterdir()
    assert Image.open(io.BytesIO(drawn.read_bytes())).width >= 480


def test_pictures_described_together_get_what_each_gets_alone(run_dir, picture, tmp_path):
    other = tmp_path / "other.png"
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (90, 50, 3), np.uint8)).save(other)

    def texts(*pictures):
        described = tmp_path / "out.json"
        describe.main(["--run-dir", str(run_dir), *map(str, pictures), "--json", str(described)])
        return [
            [d["image"], d["caption"], *(region["caption"] for region in d["regions"])]
            for d in json.loads(described.read_text())
        ]

    assert texts(picture, other) == texts(picture) + texts(other)


def test_a_run_without_region_generator_still_describes_pictures(
    run_dir, picture, tmp_path, capsys
):
    copy, boxes = tmp_path / "copy", tmp_path / "boxes.json"
    shutil.copytree(run_dir, copy)
    shutil.rmtree(copy / "checkpoints" / "generate" / "regions")
    config = json.loads(read(copy, "config.json"))
    config["generate"]["regions"] = False
    (copy / "config.json").write_text(json.dumps(config))
    describe.main(["--run-dir", str(copy), str(picture)])
    found = capsys.readouterr()
    assert f"{picture}: " in found.out
    assert "has no generator of region descriptions" in found.err
    boxes.write_text("[[0, 0, 0.5, 0.5]]")
    with pytest.raises(UserError, match=r"trained with --generate\.regions false"):
        describe.main(["--run-dir", str(copy), str(picture), "--boxes", str(boxes)])


def test_describe_goes_on_after_a_bad_picture(run_dir, picture, tmp_path, capsys):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"bad\.jpg"):
        describe.main(["--run-dir", str(run_dir), str(bad), str(picture)])
    assert str(picture) in capsys.readouterr().out


def test_describe_names_a_missing_picture_and_a_missing_run(run_dir, tmp_path):
    with pytest.raises(UserError, match=r"there is no image .*absent\.jpg"):
        describe.main(["--run-dir", str(run_dir), str(tmp_path / "absent.jpg")])
    with pytest.raises(UserError, match="no run directory"):
        describe.main(["--run-dir", str(tmp_path), str(tmp_path / "absent.jpg")])


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
