"""Stage evaluate: the three experiments of section 4, written to `metrics.json`.

Every experiment is made beside its baselines; bootstrap resamples over images give 95 % intervals.
The contributions of the images go to `evidence_SPLIT.npz`, for paired tests between runs.
"""

import json
import time
from collections.abc import Mapping
from typing import Any

from visem_tf.config import Config
from visem_tf.config.recorded import READOUT_FIELDS, SEARCH_FIELDS
from visem_tf.datasets.coverage import coverage
from visem_tf.metrics.captions import CaptionScorer
from visem_tf.metrics.java import java_reason
from visem_tf.metrics.published import recognise_split
from visem_tf.metrics.resampling import Evidence, intervals, save_evidence
from visem_tf.report.markdown import score_sheet
from visem_tf.runs.context import Context
from visem_tf.runs.grounding import Grounder
from visem_tf.runs.scoring import Scorer, read_hubness
from visem_tf.runtime.files import write_atomically
from visem_tf.runtime.json_files import parse_json
from visem_tf.runtime.streams import warn
from visem_tf.stages.evaluate_captions import evaluate_captions
from visem_tf.stages.evaluate_ranking import evaluate_ranking, rank_both_ways
from visem_tf.stages.evaluate_regions import evaluate_regions
from visem_tf.stages.experiment import EvaluatedSplit, Experiment, absent, merge

NOT_ALIGNED = "the alignment was not trained"
"""Why a run of captions alone has no figures of ranking and regions."""


def run(context: Context) -> dict[str, Any]:
    """Evaluates a run on the configured split.

    Args:
        context: Context of a run with trained models.

    Returns:
        The name of the split.
    """
    started = time.perf_counter()
    if reason := java_reason():
        warn(f"captions are not scored: {reason}")
    config, data = context.config, EvaluatedSplit.open(context)
    split, sentences = data.split, data.split.sentences
    ranking, regions = (absent(name, NOT_ALIGNED) for name in ("ranking", "regions"))
    if data.run.has("align"):
        ranking = _evaluate_ranking(data, data.run.grounder)
    with CaptionScorer() as scorer:
        captions = evaluate_captions(data, scorer)
        if data.run.has("align"):
            regions = evaluate_regions(data, data.run.grounder, scorer)
    found = merge([ranking, captions, regions])
    published = recognise_split(split.file_names, len(sentences)) if split.name == "test" else None
    metrics = {
        "dataset": context.data.name,
        "split": split.name,
        "images": len(split.image_ids),
        "sentences": len(sentences),
        "published_split": published,
        **found.figures,
        "out_of_vocabulary_percent": coverage(
            data.run.vocabulary, sentences, config.text.max_words
        ).unknown_percent,
        "intervals": figure_intervals(found.evidence, len(split.image_ids), config),
        **_requested(config),
    }
    evaluate_s = round(time.perf_counter() - started, 3)
    metrics["timing"] = {**context.run.timing(), "evaluate_s": evaluate_s}
    metrics["notes"] = found.notes
    save_evidence(context.run / f"evidence_{split.name}.npz", found.evidence, split.image_ids)
    write_metrics(context, metrics)
    return {"split": split.name}


def _evaluate_ranking(data: EvaluatedSplit, grounder: Grounder) -> Experiment:
    """Ranks by all regions, and by the whole frame alone."""
    image_index, fold_size = data.split.image_index, data.context.config.evaluate.fold_size
    scores = grounder.scorer(data.cache, data.token_ids)
    ranking = evaluate_ranking(scores, image_index, fold_size)
    # The model was trained on all regions; `--compare` shows one that was trained on frames.
    frames, scale = None, data.context.config.infer.hubness_scale
    if scale:
        frames = read_hubness(data.run.run.bank, scale, grounder.model, whole_frame=True)
    scorer = Scorer(grounder.model, whole_frame=True, hubness=frames)
    scores = scorer(data.cache, data.token_ids)
    return merge([ranking, rank_both_ways(scores, image_index, "ranking_whole_frame")])


def is_outdated(context: Context) -> bool:
    """Returns whether the figures are those of another split, or of another search."""
    return finished_metrics(context) is None


def finished_metrics(context: Context) -> dict[str, Any] | None:
    """Reads the figures of a run if they are those that the configuration asks for.

    Args:
        context: Context of the run.

    Returns:
        Content of `metrics.json`; None if the run has none, or has others.
    """
    evidence = context.run / f"evidence_{context.config.evaluate.split}.npz"
    if not context.run.is_done("evaluate") or not evidence.is_file():
        return None
    try:
        metrics = parse_json((context.run / "metrics.json").read_bytes(), dict[str, Any])
    except (OSError, ValueError):
        return None
    requested = json.loads(json.dumps(_requested(context.config)))  # tuples become lists
    return metrics if requested.items() <= metrics.items() else None


def figure_intervals(
    evidence: Mapping[str, Evidence], images: int, config: Config
) -> dict[str, list[float]] | None:
    """Computes 95 % intervals by bootstrap resamples over images.

    Args:
        evidence: Contribution of every image to the figures, by dotted name.
        images: Number of images.
        config: Configuration, whose `evaluate.resamples` and `seed` are used.

    Returns:
        Lower and upper end by dotted name; None if no resamples are configured.
    """
    resamples = config.evaluate.resamples
    if not resamples:
        return None
    found = intervals(evidence, images, resamples=resamples, seed=config.seed)
    return {name: [round(end, 4) for end in ends] for name, ends in found.items()}


def write_metrics(context: Context, metrics: dict[str, Any]) -> None:
    """Writes `metrics.json`, and the same figures as tables in `metrics.md`."""
    write_atomically(context.run / "metrics.json", json.dumps(metrics, indent=1) + "\n")
    write_atomically(context.run / "metrics.md", score_sheet(metrics, markdown=True))


def _requested(config: Config) -> dict[str, Any]:
    """The fields of the configuration on which the figures of a finished run depend."""
    fields = dict(config.flat())
    return {
        "evaluate": config.evaluate.to_dict(),
        "search": {name: fields[name] for name in SEARCH_FIELDS},
        "readout": {name: fields[name] for name in READOUT_FIELDS},
    }
