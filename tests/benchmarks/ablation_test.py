"""The table of runs: grouped over seeds, compared with a base."""

import json
import shutil

import pytest

from benchmarks import ablation
from visem_tf.config import Config
from visem_tf.runs.run_directory import RunDirectory


def make_run(folder, recall, r5=None, **fields):
    (folder / "checkpoints" / "align").mkdir(parents=True)
    config = Config().updated({"run_dir": str(folder), **fields})
    (folder / "config.json").write_text(config.to_json(versions={"python": "3"}))
    history = [{"recall_sum": value} for value in (recall - 5, recall, recall - 1)]
    progress = {"epochs": 3, "finished": True, "history": history}
    (folder / "checkpoints" / "align" / "progress.json").write_text(json.dumps(progress))
    if r5 is not None:
        metrics = {"ranking": {"image_annotation": {"r5": r5, "median_rank": 2.0}}, "captions": {}}
        (folder / "metrics.json").write_text(json.dumps(metrics))
    return folder


@pytest.fixture
def runs(tmp_path):
    return [
        make_run(tmp_path / "base0", 200.0, 50.0),
        make_run(tmp_path / "base1", 206.0, 53.0, seed=1),
        make_run(tmp_path / "base2", 212.0, 59.0, seed=2),
        make_run(tmp_path / "gru0", 230.0, **{"align.encoder": "gru", "align.loss": "infonce"}),
    ]


def test_a_row_is_what_differs_with_mean_and_spread_over_seeds(runs, capsys):
    ablation.main(list(map(str, runs)))
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "| change | seeds | val recall sum | annotation R@5 | annotation Med r |",
        "|---|---|---|---|---|",
        "| (base) | 3 | 206.0 ± 6.0 | 54.0 ± 4.6 | 2.0 ± 0.0 |",
        "| align.encoder gru, align.loss infonce | 1 | 230.0 |  |  |",
    ]


def test_another_run_may_be_the_base(runs, capsys):
    ablation.main([str(runs[0]), "--base", str(runs[3])])
    assert "| align.encoder brnn, align.loss hinge_sum | 1 | 200.0 |" in capsys.readouterr().out


def test_figures_of_a_joint_model_are_of_the_epoch_that_was_kept(runs, tmp_path, capsys):
    folder = make_run(tmp_path / "joint", 0.0, **{"joint.train": True, "align.word_dim": 256})
    epochs = [(200.0, 20.0), (210.0, 19.0), (205.0, 18.0)]
    history = [{"recall_sum": recall, "val_perplexity": value} for recall, value in epochs]
    file = folder / "checkpoints" / "align" / "progress.json"
    file.write_text(json.dumps({"epochs": 3, "finished": True, "history": history}))
    arguments = [str(runs[0]), str(folder), "--columns", "val recall sum,val perplexity"]
    ablation.main(arguments)
    assert "joint.train true | 1 | 210.0 | 19.0 |" in capsys.readouterr().out
    text = (folder / "config.json").read_text()
    (folder / "config.json").write_text(text.replace('"recall_sum"', '"val_perplexity"'))
    ablation.main(arguments)
    assert "| 205.0 | 18.0 |" in capsys.readouterr().out


@pytest.mark.parametrize(("tuned", "kept"), [(199.0, 200.0), (203.0, 203.0)])
def test_a_cnn_trained_further_counts_if_it_was_kept(runs, capsys, tuned, kept):
    folder = runs[0] / "checkpoints" / "finetune"
    folder.mkdir()
    (folder / "progress.json").write_text(json.dumps({"history": [{"recall_sum": tuned}]}))
    if tuned == kept:
        (folder / "cnn.npz").touch()
    ablation.main([str(runs[0]), "--columns", "val recall sum"])
    assert f"| (base) | 1 | {kept} |" in capsys.readouterr().out


def test_the_members_count_together_and_self_training_replaces_them(runs, capsys):
    shutil.rmtree(runs[0] / "checkpoints" / "align")
    run = RunDirectory(runs[0])
    run.mark_done("align", 1.0, {"members": [{"recall_sum": 180.0}] * 2, "recall_sum": 190.0})
    ablation.main([str(runs[0]), "--columns", "val recall sum"])
    assert "| (base) | 1 | 190.0 |" in capsys.readouterr().out
    folder = runs[0] / "checkpoints" / "self_training"
    folder.mkdir()
    (folder / "progress.json").write_text(json.dumps({"history": [{"recall_sum": 189.0}]}))
    ablation.main([str(runs[0]), "--columns", "val recall sum"])
    assert "| (base) | 1 | 189.0 |" in capsys.readouterr().out


def test_a_training_without_a_whole_epoch_has_no_figure_yet(runs, capsys):
    file = runs[1] / "checkpoints" / "align" / "progress.json"
    file.write_text(json.dumps({"epochs": 0, "step": 7, "finished": False, "history": []}))
    ablation.main([str(runs[1]), "--columns", "val recall sum,annotation R@5"])
    assert "| change | seeds | annotation R@5 |" in capsys.readouterr().out


def test_mistakes_are_named(runs, tmp_path, capsys):
    again = make_run(tmp_path / "again", 201.0, seed=1)
    for paths, message in (
        ([*runs, again], r"two runs of (base) have the same seed: [0, 1, 1, 2]"),
        ([tmp_path], "is not a run directory (it has no config.json)"),
        ([runs[0], "--columns=R@5"], "--columns must be among val recall sum, val perplexity,"),
    ):
        with pytest.raises(SystemExit) as stopped:
            ablation.main([str(path) for path in paths])
        assert stopped.value.code == 2
        assert message in capsys.readouterr().err
