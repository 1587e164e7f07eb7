"""The fifth stage: the three experiments of the paper, into `metrics.json`.

Ranking, full-frame descriptions, and regions where the data set knows where its phrases are; each
beside its baselines, with intervals by bootstrap over pictures. What the figures rest on goes into
`evidence_SPLIT.npz`, which paired tests between runs read.
"""

import json
import sys
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from visem_tf.config import Config
from visem_tf.config.recorded import SEARCH_FIELDS
from visem_tf.metrics.captions import CaptionScorer
from visem_tf.metrics.java import java_reason
from visem_tf.metrics.published import recognise_split
from visem_tf.metrics.ranking import (
    chance_ranking,
    fold_metrics,
    ranking_evidence,
    ranking_summary,
    ranks,
)
from visem_tf.metrics.resampling import Evidence, intervals, save_evidence
from visem_tf.report.markdown import score_sheet
from visem_tf.runs.checkpoints import load_alignment_model, read_or_build_vocabulary
from visem_tf.runs.context import Context
from visem_tf.runs.grounding import Grounder
from visem_tf.runs.scoring import Scorer, sentence_token_ids
from visem_tf.runtime.files import write_atomically
from visem_tf.stages.evaluate_captions import Experiment, evaluate_captions
from visem_tf.stages.evaluate_regions import evaluate_regions
from visem_tf.stages.features import open_cache


def run(context: Context) -> dict[str, Any]:
    """Evaluates the run on the configured split and writes figures, captions and evidence."""
    started = time.perf_counter()
    config, name = context.config, context.config.evaluate.split
    if reason := java_reason():
        print(f"visem_tf: warning: captions are not scored: {reason}", file=sys.stderr)
    split, cache = context.data.splits[name], open_cache(context, name)
    vocabulary = read_or_build_vocabulary(context)
    token_ids = sentence_token_ids(vocabulary, split.sentences, config.text.max_words)
    metrics: dict[str, Any] = {
        "dataset": context.data.name,
        "split": name,
        "images": len(split.image_ids),
        "sentences": len(split.sentences),
        "published_split": recognise_split(split.file_names, len(split.sentences))
        if name == "test"
        else None,
    }
    model = load_alignment_model(context)
    ranking = evaluate_ranking(
        Scorer(model)(cache, token_ids), split.image_index, config.evaluate.fold_size
    )
    metrics |= ranking.figures or {}
    # Ours looks at the frame alone here; a model trained so is another run, see `--compare`.
    scores = Scorer(model, whole_frame=True)(cache, token_ids)
    frame = evaluate_ranking(scores, split.image_index, config.evaluate.fold_size)
    metrics["ranking_whole_frame"] = (frame.figures or {})["ranking"]
    del scores
    grounder = Grounder(model, vocabulary, config)
    with CaptionScorer() as scorer:
        captions = evaluate_captions(context, split, cache, vocabulary, scorer)
        regions = evaluate_regions(context, grounder, split, cache, token_ids, vocabulary, scorer)
    metrics["captions"], metrics["regions"] = captions.figures, regions.figures
    metrics["out_of_vocabulary_percent"] = 100.0 * vocabulary.out_of_vocabulary_rate(
        split.sentences
    )
    evidence = {
        **ranking.evidence,
        **{n.replace("ranking", "ranking_whole_frame", 1): e for n, e in frame.evidence.items()},
        **captions.evidence,
        **regions.evidence,
    }
    metrics["intervals"] = None
    if config.evaluate.resamples:
        metrics["intervals"] = figure_intervals(
            evidence, len(split.image_ids), config.evaluate.resamples, config.seed
        )
    metrics |= asked_for(config)
    evaluate_s = round(time.perf_counter() - started, 3)
    metrics["timing"] = {**context.run.timing(), "evaluate_s": evaluate_s}
    metrics["notes"] = {**ranking.notes, **captions.notes, **regions.notes}
    save_evidence(context.run / f"evidence_{name}.npz", evidence, split.image_ids)
    write_metrics(context, metrics)
    return {"split": name}


def asked_for(config: Config) -> dict[str, Any]:
    """What of a configuration decides what a finished run's figures are."""
    fields = dict(config.flat())
    return {"evaluate": config.evaluate.to_dict(), "search": {n: fields[n] for n in SEARCH_FIELDS}}


def finished_metrics(context: Context) -> dict[str, Any] | None:
    """The figures that the run has already; None if none, or if other ones are asked for now."""
    path, evidence = context.run / "metrics.json", f"evidence_{context.config.evaluate.split}.npz"
    if not context.run.is_done("evaluate") or not (context.run / evidence).is_file():
        return None
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    # As JSON has it: a list for a tuple.
    asked = json.loads(json.dumps(asked_for(context.config)))
    found = isinstance(metrics, dict) and all(metrics.get(k) == v for k, v in asked.items())
    return metrics if found else None


def is_outdated(context: Context) -> bool:
    """Whether the figures are of another split, or of another search for captions."""
    return finished_metrics(context) is None


def evaluate_ranking(scores: np.ndarray, image_index: np.ndarray, fold_size: int) -> Experiment:
    """The first experiment, both directions, with chance and, in large splits, in folds.

    Args:
      scores: float [I, S].
      image_index: int [S], the picture of every sentence.
      fold_size: see `visem_tf.metrics.ranking.fold_metrics`.
    """
    annotation, search = ranks(scores, image_index)
    figures: dict[str, Any] = {
        "ranking": ranking_summary(annotation, search),
        "ranking_chance": chance_ranking(image_index, len(scores)),
        "ranking_folds": fold_metrics(scores, image_index, fold_size),
    }
    notes = {}
    if figures["ranking_folds"] is None:
        notes["ranking_folds"] = f"fewer than two folds of {fold_size} pictures"
    elif left := len(scores) % fold_size:
        notes["ranking_folds"] = f"the last {left} pictures are in no fold"
    evidence = ranking_evidence(annotation, search, image_index, len(scores))
    return Experiment(figures, notes, {f"ranking.{name}": e for name, e in evidence.items()})


def figure_intervals(
    evidence: Mapping[str, Evidence], images: int, resamples: int, seed: int
) -> dict[str, list[float]]:
    """95 % intervals by dotted name of the figure, in JSON's types."""
    found = intervals(evidence, images, resamples=resamples, seed=seed)
    return {name: [round(end, 4) for end in ends] for name, ends in found.items()}


def write_metrics(context: Context, metrics: dict[str, Any]) -> None:
    """Writes `metrics.json`, and the same as tables for people in `metrics.md`."""
    write_atomically(context.run / "metrics.json", json.dumps(metrics, indent=1) + "\n")
    write_atomically(context.run / "metrics.md", score_sheet(metrics, markdown=True))
