"""The words with which `fit` ends: what was trained, how good it is, and what to do next."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from visem_tf.metrics.published import published
from visem_tf.report.tables import duration
from visem_tf.runs.context import Context
from visem_tf.runs.generators import member_names, title_of

_NEXT = (
    ("report.html", "look at it", "open {path} in a browser"),
    ("tensorboard", "its training", "tensorboard --logdir {path}"),
    (
        "checkpoints/generate/full_frame/best.keras",
        "describe your own",
        "python -m visem_tf.describe --run-dir {run} PICTURE",
    ),
    (
        "checkpoints/align/best.keras",
        "search your own",
        'python -m visem_tf.search --run-dir {run} --images FOLDER "a dog in the snow"',
    ),
    (
        "checkpoints/generate/full_frame/best.keras",
        "try it in a page",
        "python -m visem_tf.demo --run-dir {run}",
    ),
)
_LABEL = 50


def closing_summary(context: Context) -> str:
    """One screen of text about a run; short where stages were left out.

    Args:
      context: After `run_stages`.
    """
    run = context.run
    lines = [f"run directory: {run.path}", *_trained(context)]
    if context.data.skipped:
        lines.append(f"pictures skipped as unreadable: {len(context.data.skipped)}")
    if run.is_done("evaluate") and (run / "metrics.json").exists():
        metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
        lines += _ranking(metrics)
        lines += _captions(metrics)
        lines += _regions(metrics)
    for name, what, command in _NEXT:
        if (run / name).exists():
            lines.append(f"{what + ':':19}{command.format(path=run / name, run=run.path)}")
    return "\n".join(lines)


def _trained(context: Context) -> Iterator[str]:
    """What was trained, on what, and for how long."""
    train, config = context.data.splits["train"], context.config
    parts = [
        f"preset {config.preset} on {config.dataset}",
        f"{len(train.image_ids):,} pictures and {len(train.sentences):,} sentences",
    ]
    yield f"{'trained:':19}{', '.join(parts)}"
    trainings = [("alignment", context.run.summary("align"))]
    generate = context.run.summary("generate")
    names = (*member_names(config.generate), "regions")
    trainings += [(title_of(name), generate.get(name) or {}) for name in names]
    done = [
        f"{title} {summary['epochs']} epochs (best {summary['best_epoch']})"
        for title, summary in trainings
        if "epochs" in summary
    ]
    if done:
        yield f"{'':19}{'; '.join(done)}"
    seconds = context.run.timing()
    times = [
        f"{name} {duration(seconds[key])}"
        for name, key in (("alignment", "align_s"), ("generators", "generate_s"))
        if key in seconds
    ]
    if times:
        yield f"{'':19}{', '.join(times)}"


def _ranking(metrics: Mapping[str, Any]) -> Iterator[str]:
    where = f"{metrics['split']} split, {metrics['images']:,} pictures"
    known = published(metrics)
    names = "".join(f"{name:>7}" for name in ("R@1", "R@5", "R@10", "Med r"))
    yield f"{f'ranking ({where}):':<{_LABEL}}{names}"
    for direction, figures in metrics["ranking"].items():
        yield _figures(direction.replace("_", " "), figures)
        yield _figures("by chance", metrics["ranking_chance"][direction], indent=4)
        if known:
            for label, numbers in known.ranking.get(direction, [])[:1]:
                yield _figures(label, numbers, indent=4)


def _figures(label: str, figures: Mapping[str, float], indent: int = 2) -> str:
    recalls = "".join(f"{figures[f'r{k}']:7.1f}" for k in (1, 5, 10))
    rank = f"{figures['median_rank']:7g}" if "median_rank" in figures else f"{'–':>7}"
    return f"{' ' * indent}{label:<{_LABEL - indent}}{recalls}{rank}"


def _captions(metrics: Mapping[str, Any]) -> Iterator[str]:
    captions = metrics["captions"] or {}
    for search, scores in captions.items():
        yield f"captions, {search.replace('_', ' ') + ':':19}{_caption_line(scores)}"
    known = published(metrics)
    if captions and known:
        for _, scores in known.captions[:1]:
            yield f"{'  published: the paper':29}{_bleu_line(scores)}"


def _regions(metrics: Mapping[str, Any]) -> Iterator[str]:
    regions = metrics["regions"]
    if not regions:
        return
    for title, figures in (
        ("alignment:", regions),
        ("  without MRF:", regions["without_mrf"]),
        ("  whole frame:", regions["whole_frame"]),
        ("  by chance:", regions["chance"]),
    ):
        yield (
            f"{title:17}pointing {figures['pointing']:.1f}  word accuracy "
            f"{figures['word_accuracy']:.1f}  phrase IoU>=0.5 {figures['phrase_iou50']:.1f}"
        )
    if regions["bleu1"] is not None:
        yield f"region descriptions: {_bleu_line(regions)}"


def _caption_line(scores: Mapping[str, Any]) -> str:
    if scores["bleu1"] is None:
        return "not scored (pip install 'visem_tf[eval]')"
    meteor = "" if scores["meteor"] is None else f"  METEOR {scores['meteor']:.1f}"
    distinct = f"  {scores['distinct_captions']} distinct"
    return f"{_bleu_line(scores)}{meteor}  CIDEr {scores['cider']:.1f}{distinct}"


def _bleu_line(scores: Mapping[str, Any]) -> str:
    return "  ".join(f"B-{n} {scores[f'bleu{n}']:.1f}" for n in (1, 2, 3, 4))
