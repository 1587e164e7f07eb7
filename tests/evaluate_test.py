"""`python -m visem_tf.evaluate`: the metrics of a run, and comparisons with other systems."""

import json
import shutil

import numpy as np
import pytest

from visem_tf import evaluate, fit
from visem_tf.errors import UserError
from visem_tf.metrics.captions import CaptionScorer
from visem_tf.metrics.java import JavaError
from visem_tf.publish import publish
from visem_tf.runs.trained_run import TrainedRun
from visem_tf.runtime import model_places

pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture(scope="module")
def cache_dir(untrained_run):
    return untrained_run.cache_dir


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory, untrained_run):
    path = tmp_path_factory.mktemp("runs") / "run"
    shutil.copytree(untrained_run.path, path)
    return path


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


def write_vectors(folder):
    """Writes vectors that know the answers."""
    right = np.repeat(np.eye(10), 5, axis=0)
    np.savez(folder / "v.npz", image_embeddings=np.eye(10), sentence_embeddings=right)
    return folder / "v.npz"


def test_evaluate_against_other_systems(run_dir, cache_dir, tmp_path, capsys):
    """The run's own captions, vectors that know the answer, and the run itself as another run."""
    command = ["--run-dir", str(run_dir), "--cache-dir", str(cache_dir)]
    before = json.loads((run_dir / "metrics.json").read_text())
    vectors = write_vectors(tmp_path)
    captions = run_dir / "captions_test.json"
    evaluate.main(
        [
            *command,
            *("--captions", str(captions)),
            *("--against", str(vectors)),
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
    assert difference["p"] < 0.05
    assert all(
        f["difference"] == 0 and f["p"] == 1 for f in metrics["comparison"]["figures"].values()
    )
    assert "Compared with" in out
    for part in ("ranking", "captions", "regions", "intervals"):
        assert metrics[part] == before[part]


def test_with_json_the_run_stays_as_it_is(run_dir, cache_dir, tmp_path):
    """The run's own captions are compared, so that it is not evaluated again."""

    def versions():
        return {p: p.stat().st_mtime_ns for p in [run_dir, *run_dir.rglob("*")]}

    before = versions()
    command = ["--run-dir", str(run_dir), "--cache-dir", str(cache_dir)]
    captions = ["--captions", str(run_dir / "captions_test.json")]
    evaluate.main([*command, *captions, "--json", str(tmp_path / "new" / "m.json")])
    assert versions() == before
    metrics = json.loads((tmp_path / "new" / "m.json").read_text())
    assert metrics["ranking"] == json.loads((run_dir / "metrics.json").read_text())["ranking"]
    assert "captions_file" in metrics
    eye = {"image_embeddings": np.eye(2), "sentence_embeddings": np.eye(2)}
    np.savez(tmp_path / "v.npz", image_index=np.arange(2), **eye)
    with pytest.raises(UserError, match="and --json need --run-dir"):
        evaluate.main(["--against", str(tmp_path / "v.npz"), "--json", str(tmp_path / "m.json")])


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
    assert len(struct["imgblobs"]) == 10
    assert (run_dir / "metrics.md").read_text().startswith("# coco_json, split test: 10 images")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--captions", "absent.json"], "cannot read absent.json"),
        (["--against", "absent.npz"], "absent.npz is missing"),
        (["--compare", "absent"], "absent is not a run directory"),
        (["--references", "r.json"], "--references is for captions without --run-dir"),
        (["--compare", "."], "is not a run directory"),
    ],
)
def test_mistakes_in_comparing(run_dir, cache_dir, options, message):
    with pytest.raises(UserError, match=message):
        evaluate.main(["--run-dir", str(run_dir), "--cache-dir", str(cache_dir), *options])


def test_sizes_of_another_split_are_refused(run_dir, cache_dir, tmp_path):
    np.savez(tmp_path / "v.npz", image_embeddings=np.eye(3), sentence_embeddings=np.eye(3))
    with pytest.raises(UserError, match="3 images and 3 sentences, the split has 10 and 50"):
        evaluate.main(
            [
                *("--run-dir", str(run_dir), "--cache-dir", str(cache_dir)),
                *("--against", str(tmp_path / "v.npz")),
            ]
        )


@pytest.mark.slow
def test_files_are_scored_without_a_run(tmp_path, capsys, no_packaged_model):
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
    assert "CIDEr of a single image is always 0" in out
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


@pytest.mark.slow
def test_a_published_model_is_evaluated_into_a_folder(
    untrained_run, run_dir, tmp_path, monkeypatch
):
    model = tmp_path / "flickr8k"
    publish(TrainedRun(run_dir), str(model), "flickr8k")
    monkeypatch.setattr(model_places, "packaged_models", lambda: {"flickr8k": model})

    def without_java(*arguments):
        raise JavaError("takes seconds")

    monkeypatch.setattr(CaptionScorer, "_tokenize", without_java)
    data = json.loads((untrained_run.path / "config.json").read_text())["data_dir"]
    command = ["--cache-dir", str(untrained_run.cache_dir), "--data-dir", data]
    files = {path.name: path.read_bytes() for path in model.iterdir()}
    to = tmp_path / "results"
    with pytest.raises(UserError, match="is a published model; give --to"):
        evaluate.main(command)
    with pytest.raises(UserError, match=r"align\.score cannot change"):
        evaluate.main([*command, "--to", str(tmp_path / "new"), "--align.score", "cosine"])
    with pytest.raises(UserError, match="is another run; give a new folder"):
        evaluate.main([*command, "--to", str(run_dir)])
    with pytest.raises(UserError, match="--to is for published models"):
        evaluate.main(["--run-dir", str(run_dir), "--to", str(tmp_path)])
    with pytest.raises(UserError, match=r"did you mean flickr8k"):
        evaluate.main([*command, "--run-dir", "flickr8", "--to", str(to)])
    evaluate.main([*command, "--to", str(to)])
    found, expected = (
        json.loads((folder / "metrics.json").read_text()) for folder in (to, run_dir)
    )
    assert found["ranking"] == expected["ranking"]  # the cache has the same features
    assert set(found["regions"]["nearest_neighbour"].values()) == {None}
    assert "has no alignments.jsonl" in found["notes"]["regions.bleu.nearest_neighbour"]
    written, of_run = ((folder / "captions_test.json").read_text() for folder in (to, run_dir))
    assert written == of_run
    vectors = ["--run-dir", "flickr8k", "--against", str(write_vectors(tmp_path))]
    evaluate.main([*command, "--to", str(to), *vectors])
    assert "against" in json.loads((to / "metrics.json").read_text())
    with pytest.raises(UserError, match="--to and --json exclude each other"):
        evaluate.main([*command, "--to", str(to), "--json", str(tmp_path / "m.json")])
    evaluate.main([*command, "--json", str(tmp_path / "m.json")])
    assert json.loads((tmp_path / "m.json").read_text())["ranking"] == expected["ranking"]
    assert files == {path.name: path.read_bytes() for path in model.iterdir()}


def test_metrics_have_what_is_promised(run_dir):
    metrics = json.loads((run_dir / "metrics.json").read_text())
    assert (metrics["dataset"], metrics["split"]) == ("coco_json", "test")
    assert (metrics["images"], metrics["sentences"]) == (10, 50)
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
    assert chance["image_search"] == {"r1": 10.0, "r5": 50.0, "r10": 100.0, "median_rank": 5.5}
    # One of 5 own sentences among the first of 50: 1 - C(45, 5) / C(50, 5).
    assert chance["image_annotation"]["r1"] == pytest.approx(10.0)
    assert chance["image_annotation"]["r5"] == pytest.approx(42.3, abs=0.1)


@pytest.mark.slow
def test_another_search_for_captions_is_evaluated_and_reported_anew(
    run_dir, cache_dir, tmp_path, capsys
):
    copy = tmp_path / "copy"
    shutil.copytree(run_dir, copy)
    again = ["--run-dir", str(copy), "--cache-dir", str(cache_dir)]
    command = [*again, "--stages", "evaluate,report", "--generate.block_ngrams", "1"]
    fit.main(command)
    out = capsys.readouterr().out
    assert "evaluate: finished in" in out and "report: finished in" in out
    results = json.loads((copy / "captions_test.json").read_text())
    captions = [result["caption"].split() for result in results]
    assert all(len(words) == len(set(words)) for words in captions)
    fit.main(command)
    assert capsys.readouterr().out.count("finished before, skipped") == 2
    # A comparison takes the figures of the search that is asked for, too.
    options = ["--generate.block_ngrams", "0", "--generate.beam_size", "3"]
    evaluate.main([*again, "--compare", str(run_dir), *options])
    assert "evaluate: finished in" in capsys.readouterr().out
    before, after = (
        json.loads((run / "metrics.json").read_text())["captions"] for run in (run_dir, copy)
    )
    assert before == after
