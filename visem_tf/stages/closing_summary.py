"""The text with which `fit` ends: what was trained, its metrics, and what to do next."""

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from visem_tf.metrics.published import published
from visem_tf.report.tables import duration
from visem_tf.runs.context import Context
from visem_tf.runs.generators import member_names, title_of

_GENERATOR = "checkpoints/generate/full_frame/best.keras"
_NEXT = (
    ("report.html", "look at it", "open {path} in a browser"),
    ("tensorboard", "its training", "tensorboard --logdir {path}"),
    (_GENERATOR, "describe your own", "python -m visem_tf.describe --run-dir {run} IMAGE"),
    (
        "checkpoints/align/best.keras",
        "search your own",
        'python -m visem_tf.search --run-dir {run} --images FOLDER "a dog in the snow"',
    ),
    (_GENERATOR, "try it in a page", "python -m visem_tf.demo --run-dir {run}"),
)
_LABEL = 50


def closing_summary(context: Context) -> str:
    """Describes a run on one screen; parts of stages that were not run are left out.

    Args:
        context: Context after `run_stages`.
    """
    run = context.run
    lines = [f"run directory: {run.address}", *_trained(context)]
    if context.data.skipped:
        lines.append(f"images skipped as unreadable: {len(context.data.skipped)}")
    metrics = run.metrics() if run.is_done("evaluate") else {}
    if metrics:
        lines += [*_ranking(metrics), *_captions(metrics), *_regions(metrics)]
    lines += [
        f"{what + ':':19}{command.format(path=f'{run.address}/{name}', run=run.address)}"
        for name, what, command in _NEXT
        if (run / name).exists()
    ]
    return "\n".join(lines)


def _trained(context: Context) -> Iterator[str]:
    train, config = context.data.splits["train"], context.config
    yield (
        f"{'trained:':19}preset {config.preset} on {config.dataset}, "
        f"{len(train.image_ids):,} images and {len(train.sentences):,} sentences"
    )
    generate = context.run.summary("generate")
    align = context.run.summary("align")
    members = enumerate(align.get("members", ()), 1)
    trainings = {"alignment": align, **{f"alignment {n}": member for n, member in members}}
    for title, name in (("CNN", "finetune"), ("self-training", "self_training")):
        trainings[title] = align.get(name) or {}
    for name in (*member_names(config.generate), "regions"):
        trainings[title_of(name)] = generate.get(name) or {}
    done = [
        f"{title} {summary['epochs']} epochs (best {summary['best_epoch']})"
        for title, summary in trainings.items()
        if "epochs" in summary
    ]
    for line in textwrap.wrap("; ".join(done), width=80, break_on_hyphens=False):
        yield f"{'':19}{line}"
    seconds = context.run.timing()
    times = [
        f"{name} {duration(seconds[key])}"
        for name, key in (("alignment", "align_s"), ("generators", "generate_s"))
        if key in seconds
    ]
    if times:
        yield f"{'':19}{', '.join(times)}"


def _ranking(metrics: Mapping[str, Any]) -> Iterator[str]:
    if not metrics["ranking"]:
        return
    title = f"ranking ({metrics['split']} split, {metrics['images']:,} images):"
    names = "".join(f"{name:>7}" for name in ("R@1", "R@5", "R@10", "Med r"))
    yield f"{title:<{_LABEL}}{names}"
    for direction, values in metrics["ranking"].items():
        yield _ranking_line(f"  {direction.replace('_', ' ')}", values)
        yield _ranking_line("    by chance", metrics["ranking_chance"][direction])
        for label, numbers in published(metrics).ranking.get(direction, [])[:1]:
            yield _ranking_line(f"    {label}", numbers)


def _ranking_line(label: str, values: Mapping[str, float]) -> str:
    recalls = "".join(f"{values[f'r{k}']:7.1f}" for k in (1, 5, 10))
    rank = f"{values['median_rank']:g}" if "median_rank" in values else "–"
    return f"{label:<{_LABEL}}{recalls}{rank:>7}"


def _captions(metrics: Mapping[str, Any]) -> Iterator[str]:
    captions = metrics["captions"] or {}
    for search, scores in captions.items():
        if scores["bleu1"] is None:
            text = f"not scored: {metrics['notes'][f'captions.{search}.bleu1']}"
        else:
            meteor = "" if scores["meteor"] is None else f"  METEOR {scores['meteor']:.1f}"
            distinct = f"{scores['distinct_captions']} distinct"
            text = f"{_bleu(scores)}{meteor}  CIDEr {scores['cider']:.1f}  {distinct}"
        yield f"captions, {search.replace('_', ' ') + ':':19}{text}"
    if captions:
        for _, scores in published(metrics).captions[:1]:
            yield f"{'  published: the paper':29}{_bleu(scores)}"


def _regions(metrics: Mapping[str, Any]) -> Iterator[str]:
    regions = metrics["regions"]
    if not regions:
        return
    for title, values in (
        ("alignment:", regions),
        ("  without MRF:", regions["without_mrf"]),
        ("  whole frame:", regions["whole_frame"]),
        ("  by chance:", regions["chance"]),
    ):
        yield (
            f"{title:17}pointing {values['pointing']:.1f}  word accuracy "
            f"{values['word_accuracy']:.1f}  phrase IoU>=0.5 {values['phrase_iou50']:.1f}"
        )
    if regions["bleu1"] is not None:
        yield f"region descriptions: {_bleu(regions)}"


def _bleu(scores: Mapping[str, Any]) -> str:
    return "  ".join(f"B-{n} {scores[f'bleu{n}']:.1f}" for n in (1, 2, 3, 4))
