"""The words with which `fit` ends: what was trained, how good it is, and what to do next."""

import json
from typing import Any

from visem_tf.stages import Context


def closing_summary(context: Context) -> str:
    """One screen of text about a run; short where stages were left out.

    Args:
      context: After `run_stages`.
    """
    run = context.run
    lines = [f"run directory: {run.path}"]
    if context.data.skipped:
        lines.append(f"pictures skipped as unreadable: {len(context.data.skipped)}")
    if run.is_done("evaluate") and (run / "metrics.json").exists():
        metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
        lines += _figures(metrics)
    for name, command in (
        ("report.html", "open {path} in a browser"),
        ("tensorboard", "tensorboard --logdir {path}"),
        ("checkpoints/generate", "python -m visem_tf.describe --run-dir {run} PICTURE"),
    ):
        if (run / name).exists():
            lines.append("next: " + command.format(path=run / name, run=run.path))
    return "\n".join(lines)


def _figures(metrics: dict[str, Any]) -> list[str]:
    where = f"{metrics['split']} split, {metrics['images']} pictures"
    lines = [f"ranking ({where}; by chance in brackets):"]
    for direction, figures in metrics["ranking"].items():
        chance = metrics["ranking_chance"][direction]
        recalls = "  ".join(
            f"R@{k} {figures[f'r{k}']:.1f} ({chance[f'r{k}']:.1f})" for k in (1, 5, 10)
        )
        rank = f"Med r {figures['median_rank']:g} ({chance['median_rank']:g})"
        lines.append(f"  {direction.replace('_', ' '):17}{recalls}  {rank}")
    for search, scores in (metrics["captions"] or {}).items():
        lines.append(f"captions, {search.replace('_', ' ') + ':':19}{_caption_line(scores)}")
    regions = metrics["regions"]
    if regions:
        for title, figures in (
            ("alignment:", regions),
            ("  without MRF:", regions["without_mrf"]),
            ("  whole frame:", regions["whole_frame"]),
            ("  by chance:", regions["chance"]),
        ):
            lines.append(
                f"{title:17}pointing {figures['pointing']:.1f}  word accuracy "
                f"{figures['word_accuracy']:.1f}  phrase IoU>=0.5 {figures['phrase_iou50']:.1f}"
            )
        if regions["bleu1"] is not None:
            lines.append(f"region descriptions: {_bleu_line(regions)}")
    return lines


def _caption_line(scores: dict[str, Any]) -> str:
    if scores["bleu1"] is None:
        return "not scored (pip install 'visem_tf[eval]')"
    meteor = "" if scores["meteor"] is None else f"  METEOR {scores['meteor']:.1f}"
    distinct = f"  {scores['distinct_captions']} distinct"
    return f"{_bleu_line(scores)}{meteor}  CIDEr {scores['cider']:.1f}{distinct}"


def _bleu_line(scores: dict[str, Any]) -> str:
    return "  ".join(f"B-{n} {scores[f'bleu{n}']:.1f}" for n in (1, 2, 3, 4))
