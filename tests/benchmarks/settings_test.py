"""Values of the section infer are compared by the figures of `evaluate`."""

import json

import pytest

from benchmarks import settings
from visem_tf.config import Config
from visem_tf.errors import UserError


def test_a_row_may_start_from_the_options_of_the_paper():
    row = settings.read_row("paper,beta=0.5,trim=true")
    assert row["infer.trim"] is True and row["infer.boundary"] == 1.0 and row["infer.beta"] == 0.5


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_rows_have_the_figures_of_the_evaluation(tiny_run, capsys):
    shown = ("word_accuracy", "snippets.mean_length", "grounding.pointing", "recall_sum", "nothing")
    run = ["--run-dir", str(tiny_run.path), "--on", "test", "--show", ",".join(shown)]
    settings.main([*run, "", "paper,beta=0", "keep=0.5"])
    lines = capsys.readouterr().out.splitlines()
    header, _, configured, paper, half = lines[-5:]
    assert header == f"| options | {' | '.join(shown)} |" and configured != paper != half
    metrics = json.loads((tiny_run.path / "metrics.json").read_text())
    regions, ranking = metrics["regions"], metrics["ranking"].values()
    found = (
        regions["word_accuracy"],
        *(regions[k.split(".")[0]][k.split(".")[1]] for k in shown[1:3]),
        sum(way[name] for way in ranking for name in ("r1", "r5", "r10")),
    )
    assert configured == f"|  | {' | '.join(f'{value:.1f}' for value in found)} |  |"


def test_an_unknown_field_is_named():
    with pytest.raises(UserError, match="betta"):
        Config().updated(settings.read_row("betta=1"))
