"""Prints a table of runs: the changed options of each configuration, and its figures over seeds.

    python -m benchmarks.ablation runs/f8k-best-* runs/f8k-gru-* --base runs/f8k-best-0

Runs that differ only in the seed form one row, with the mean, the sample standard deviation and the
number of runs. A row is named by the fields in which it differs from the first run, or from the run
given by `--base`. Validation figures ("val") are those of the epoch that the training kept; the
others are those of the evaluated split in `metrics.json`. Missing figures are left empty.
`--columns "val perplexity,B-4,CIDEr"` selects columns.
"""

import argparse
import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from visem_tf.config import Config, differences
from visem_tf.config.recorded import UNRELATED_FIELDS
from visem_tf.errors import UserError
from visem_tf.runs.model_files import cider_folder
from visem_tf.runs.run_state import read_state

FIGURES = {
    "val recall sum": ("best epoch", "recall_sum"),
    "val perplexity": ("best epoch", "val_perplexity"),
    "annotation R@1": ("ranking", "image_annotation", "r1"),
    "annotation R@5": ("ranking", "image_annotation", "r5"),
    "annotation Med r": ("ranking", "image_annotation", "median_rank"),
    "search R@1": ("ranking", "image_search", "r1"),
    "search R@5": ("ranking", "image_search", "r5"),
    "search Med r": ("ranking", "image_search", "median_rank"),
    "pointing": ("regions", "pointing"),
    "word accuracy": ("regions", "word_accuracy"),
    "B-4": ("captions", "beam", "bleu4"),
    "METEOR": ("captions", "beam", "meteor"),
    "CIDEr": ("captions", "beam", "cider"),
}
"""The columns, and where each figure is: in the records of the trainings, or in `metrics.json`."""

_NO_CHANGE = ("seed", *UNRELATED_FIELDS)


def read_run(path: Path) -> tuple[Config, dict[str, float]]:
    """Returns the configuration of a run and its figures, by the names in `FIGURES`.

    Raises:
        UserError: If the path is not a run directory.
    """
    if not (path / "config.json").is_file():
        raise UserError(f"{path} is not a run directory (it has no config.json)")
    config = Config.from_json((path / "config.json").read_text(encoding="utf-8"))
    file = path / "metrics.json"
    metrics = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    all_figures = {**metrics, "best epoch": _best_epoch(path / "checkpoints", config)}
    figures = {name: _at(place, all_figures) for name, place in FIGURES.items()}
    return config, {name: value for name, value in figures.items() if value is not None}


def _at(place: Sequence[str], found: Any) -> float | None:
    for key in place:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def _best_epoch(checkpoints: Path, config: Config) -> dict[str, float]:
    """Returns the validation figures of the models that the trainings kept.

    All figures of a joint model belong to the same epoch. A fine-tuned CNN counts if it was kept,
    and self-training always, because later stages use its result. A generator that was trained on
    CIDEr has no perplexity, because this training does not measure it.
    """
    of_alignment = config.joint.monitor if config.joint.train else "recall_sum"
    found: dict[str, float] = {}
    stage: dict[str, Any] = dict(read_state(checkpoints.parent).get("stages", {}).get("align", {}))
    summary = stage.get("summary", {})
    if "members" in summary:  # joined, and validated together
        found["recall_sum"] = summary["recall_sum"]
    for folder, monitor in (
        ("generate/full_frame", "val_perplexity"),
        ("align", of_alignment),
        ("finetune", "recall_sum"),
        ("self_training", "recall_sum"),
    ):
        if folder == "finetune" and not (checkpoints / folder / "cnn.npz").is_file():
            continue
        file = checkpoints / folder / "progress.json"
        history = json.loads(file.read_text("utf-8"))["history"] if file.is_file() else []
        if not history:  # not trained, or not yet for a whole epoch
            continue
        sign = 1 if monitor == "recall_sum" else -1
        kept = max(history, key=lambda epoch: sign * epoch[monitor])
        found |= {name: kept[name] for name in ("recall_sum", "val_perplexity") if name in kept}
    if (checkpoints / "generate" / cider_folder("full_frame") / "best.keras").is_file():
        found.pop("val_perplexity", None)
    return found


def changes(base: Config, config: Config) -> str:
    """Returns the options in which a run differs from the base, as text."""
    names = [name for name in differences(base, config) if name not in _NO_CHANGE]
    values = dict(config.flat())
    return ", ".join(f"{name} {_shown(values[name])}" for name in names) or "(base)"


def _shown(value: Any) -> str:
    return ",".join(value) if isinstance(value, tuple) else str(value).lower()


def as_markdown(
    runs: Sequence[tuple[Config, dict[str, float]]], base: Config, wanted: Sequence[str]
) -> str:
    """Returns a row for the runs that differ only in the seed, in the order of the arguments.

    Raises:
        UserError: If two runs of a row have the same seed.
    """
    groups: dict[str, list[tuple[Config, dict[str, float]]]] = {}
    for config, figures in runs:
        groups.setdefault(changes(base, config), []).append((config, figures))
    columns = [name for name in wanted if any(name in figures for _, figures in runs)]
    lines = [["change", "seeds", *columns], ["---"] * (len(columns) + 2)]
    for name, members in groups.items():
        seeds = [config.seed for config, _ in members]
        if len(set(seeds)) < len(seeds):
            raise UserError(f"two runs of {name} have the same seed: {sorted(seeds)}")
        cells = [
            _mean([figures[column] for _, figures in members if column in figures])
            for column in columns
        ]
        lines.append([name, str(len(seeds)), *cells])
    return "\n".join(f"| {' | '.join(line)} |".replace("| --- ", "|---") for line in lines)


def _mean(values: Sequence[float]) -> str:
    """Returns the mean, with ± the sample standard deviation of several values."""
    if not values:
        return ""
    spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.1f}{spread}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("runs", nargs="+", type=Path, help="run directories")
    parser.add_argument("--base", type=Path, help="run to compare with (default: the first)")
    parser.add_argument(
        "--columns",
        default=",".join(FIGURES),
        help=f"columns, separated by commas, of {', '.join(FIGURES)} (default: all)",
    )
    options = parser.parse_args(arguments)
    columns = options.columns.split(",")
    if unknown := [name for name in columns if name not in FIGURES]:
        parser.error(f"--columns must be among {', '.join(FIGURES)}, not {unknown[0]!r}")
    try:
        runs = [read_run(path) for path in options.runs]
        base = read_run(options.base)[0] if options.base else runs[0][0]
        print(as_markdown(runs, base, columns))
    except UserError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
