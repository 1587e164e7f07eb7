"""Compares values of the section infer by what they give, with a finished run.

    python -m benchmarks.settings --run-dir runs/scenes paper,beta=0 paper,beta=1 trim=false

Every ROW is a list of fields with their values, of which `paper` stands for those of the paper's
snippets; the other fields are those of the run. The figures are those of `regions` in
`metrics.json`, and `recall_sum`, the sum of the recalls of both rankings. They are of the
validation split unless `--on` says otherwise. The data set must have boxes for phrases.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from visem_tf.cli import parse_arguments, run_command
from visem_tf.config.inference import PAPER_SNIPPETS
from visem_tf.config.options import make_parser
from visem_tf.errors import UserError
from visem_tf.runs.opening import open_run
from visem_tf.runs.scoring import recalls
from visem_tf.runs.trained_run import TrainedRun
from visem_tf.stages.evaluate_grounding import evaluate_grounding
from visem_tf.stages.evaluate_regions import all_regions, evaluate_alignment
from visem_tf.stages.evaluate_snippets import evaluate_snippets
from visem_tf.stages.experiment import EvaluatedSplit, Experiment, merge

FIGURES = (
    "recall_sum,word_accuracy,pointing,snippets.f1,snippets.mean_length,grounding.pointing,"
    "grounding.r1"
)


def read_row(text: str) -> dict[str, Any]:
    """Returns the fields of a row as those of the configuration.

    Example:
        >>> read_row("beta=0.5,readout=mrf")
        {'infer.beta': 0.5, 'infer.readout': 'mrf'}
    """
    changes: dict[str, Any] = {}
    for part in filter(None, text.split(",")):
        name, _, value = part.partition("=")
        try:
            found = value if name == "readout" else json.loads(value)
        except ValueError:
            found = value
        changes |= PAPER_SNIPPETS if part == "paper" else {name: found}
    return {f"infer.{name}": value for name, value in changes.items()}


def main(argv: Sequence[str] | None = None) -> None:
    """Prints a table as Markdown, row by row."""
    description = "Compares values of the section infer."
    parser = make_parser("benchmarks.settings", description, arguments="ROW…")
    parser.add_argument("rows", nargs="+", metavar="ROW", help="fields, as in paper,beta=0.5")
    parser.add_argument("--on", default="val", choices=("val", "test"), help="the split")
    parser.add_argument("--show", default=FIGURES, help="names of figures (default: %(default)s)")
    config, options = parse_arguments(parser, argv, finished_run=True)
    configs = [config.updated(read_row(row)) for row in options.rows]
    data = EvaluatedSplit.open(open_run(config.updated({"evaluate.split": options.on})))
    phrases = data.split.phrases
    if phrases is None or not len(phrases.boxes):
        raise UserError(f"{data.context.data.name} has no boxes of phrases; choose another run")
    regions = all_regions(data.cache)
    columns = options.show.split(",")
    print(f"{data.context.data.name}, split {options.on}, {len(data.split.image_ids)} images\n")
    print(f"| options | {' | '.join(columns)} |\n|{'---|' * (len(columns) + 1)}")
    for row, changed in zip(options.rows, configs, strict=True):
        grounder = TrainedRun(data.context.run, changed).grounder
        scores = grounder.scorer(data.cache, data.token_ids)
        experiments = [Experiment(recalls(scores, data.split.image_index))]
        if not set(columns) <= experiments[0].figures.keys():  # the rest takes longer
            experiments += [
                evaluate_alignment(data, grounder, phrases, regions),
                evaluate_grounding(data, grounder, phrases, regions),
                evaluate_snippets(data, grounder, phrases),
            ]
        figures = merge(experiments).figures
        cells = [_cell(figures, name) for name in columns]
        print(f"| {row} | {' | '.join(cells)} |", flush=True)


def _cell(figures: Any, name: str) -> str:
    """Returns a figure by its dotted name, or "" if there is none."""
    for part in name.split("."):
        figures = figures.get(part) if isinstance(figures, Mapping) else None
    return f"{figures:,.1f}" if isinstance(figures, (int, float)) else str(figures or "")


if __name__ == "__main__":
    run_command(main)
