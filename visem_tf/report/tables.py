"""The metrics of `metrics.json` as tables, which say why a number is missing."""

from collections.abc import Mapping
from typing import Any

from visem_tf.metrics.published import published
from visem_tf.report.grounding_tables import grounding_by_type, grounding_of_phrases, proposals
from visem_tf.report.table import (
    BLEU,
    CAPTIONS,
    DENSE,
    NO_REASON,
    RANKING,
    REGIONS,
    Cell,
    Table,
)

_OPTIONAL = ("spice", "vocabulary_used", "unfinished", "repeating", "copied")
_SNIPPETS = {
    "f1": "F1",
    "precision": "Precision",
    "recall": "Recall",
    "overlap": "Overlap",
    "function_word_ends": "Function word at an end",
    "mean_length": "Words",
    "snippets": "Snippets",
}


def metric_tables(metrics: Mapping[str, Any] | None) -> list[Table]:
    """Makes all tables of a run.

    Args:
        metrics: Content of `metrics.json`; None if there is none.

    Returns:
        Tables of ranking, captions, regions, phrases, snippets, region descriptions and times; one
        absent table without `metrics`.
    """
    if metrics is None:
        return [Table("Metrics", absent="the stage evaluate has not been run (no metrics.json)")]
    makers = (
        _ranking,
        _folds,
        _captions,
        _regions,
        grounding_of_phrases,
        grounding_by_type,
        proposals,
        _snippets,
        _descriptions,
        _dense,
        _timing,
    )
    tables = [make(metrics) for make in makers]
    return [table for table in tables if table is not None]


def _ranking(metrics: Mapping[str, Any]) -> Table:
    if not metrics["ranking"]:
        return _absent("Ranking", metrics, "ranking")
    table = Table(
        "Ranking",
        "Image annotation ranks all sentences for an image, and image search ranks all images for "
        "a sentence. R@K is the percentage of queries whose correct answer is among the first K; "
        "higher is better. For the median rank, lower is better.",
        RANKING,
        metrics,
    )
    for direction in metrics["ranking"]:
        for part, label in (
            ("ranking", direction.replace("_", " ").capitalize()),
            ("ranking_whole_frame", "the whole frame alone"),
            ("ranking_chance", "by chance"),
        ):
            if metrics.get(part):
                table.add(label, metrics[part][direction], f"{part}.{direction}")
        table.add_published(published(metrics).ranking.get(direction, []))
    return table


def _folds(metrics: Mapping[str, Any]) -> Table | None:
    """Makes the table of the ranking in folds; None for splits that are too small."""
    folds = metrics.get("ranking_folds")
    if not folds:
        return None
    table = Table(
        f"Ranking in folds of {folds['fold_size']:,} images",
        f"The mean of {folds['folds']} folds, and the first fold alone: both protocols are called "
        "1K. Neither is comparable with a ranking of all images.",
        RANKING,
    )
    for direction in folds["mean"]:
        label = direction.replace("_", " ").capitalize()
        table.add(f"{label}, mean of {folds['folds']}", folds["mean"][direction])
        table.add("the first fold alone", folds["first"][direction])
        table.add_published(published(metrics).folds.get(direction, []))
    return table


def _captions(metrics: Mapping[str, Any]) -> Table:
    title, captions = "Full-frame descriptions", metrics["captions"]
    if not captions:
        return _absent(title, metrics, "captions")
    names = {
        name: heading
        for name, heading in CAPTIONS.items()
        if name not in _OPTIONAL or any(s.get(name) is not None for s in captions.values())
    }
    table = Table(
        title,
        "One sentence per image, compared with those that people wrote. Scores are in percent; "
        "higher is better. The last columns reveal a model that gives all images the same "
        "sentence, or that repeats sentences of the training split.",
        names,
        metrics,
    )
    for search, scores in captions.items():
        label = search.replace("_", " ")
        if search in ("greedy", "beam"):
            beams = f", {scores['beam_size']} beams" if "beam_size" in scores else ""
            label = f"{search.capitalize()} search{beams}"
        table.add(label, scores, f"captions.{search}")
    table.add_published(published(metrics).captions)
    return table


def _regions(metrics: Mapping[str, Any]) -> Table:
    title, regions = "Alignment of words and regions", metrics["regions"]
    if not regions:
        return _absent(title, metrics, "regions")
    table = Table(
        title,
        "Compared with the boxes of phrases in the data set; in percent, higher is better. Word "
        "accuracy: words whose region overlaps the true box with an IoU of at least 0.5. "
        "Pointing: phrases whose region has its centre in the true box.",
        REGIONS,
        metrics,
    )
    table.add("Smoothed by the MRF", regions, "regions")
    for label, name in (
        ("Without the MRF", "without_mrf"),
        ("The whole frame for every word", "whole_frame"),
        ("by chance", "chance"),
    ):
        if regions.get(name):
            table.add(label, regions[name], f"regions.{name}")
    return table


def _snippets(metrics: Mapping[str, Any]) -> Table | None:
    """Makes the table of snippets and marked phrases; None if that was not measured."""
    regions = metrics["regions"]
    if not regions or "snippets" not in regions:
        return None
    table = Table(
        "Snippets",
        "The parts of sentences that the region-level generator is trained on, compared with the "
        "phrases that people marked; in percent. Precision: snippets that are exactly a phrase. "
        "Recall: phrases that are exactly a snippet. F1: their harmonic mean. Overlap: the mean "
        "over phrases of the largest IoU of their words with a snippet. Function word at an end: "
        "snippets that begin or end in a function word, other than a determiner at the beginning; "
        "lower is better.",
        _SNIPPETS,
        metrics,
    )
    snippets = regions["snippets"]
    for label, name in (
        ("As configured", ""),
        ("segments of the paper, same β", "segments"),
        ("segments of the paper, β 0", "without_mrf"),
    ):
        part = ".".join(filter(None, ("regions.snippets", name)))
        table.add(label, snippets[name] if name else snippets, part)
    return table


def _descriptions(metrics: Mapping[str, Any]) -> Table:
    title, regions = "Region descriptions", metrics["regions"]
    if not regions:
        return _absent(title, metrics, "regions")
    table = Table(
        title,
        f"Descriptions of {regions.get('described_boxes', 'the')} boxes in the data set, compared "
        "with those that people wrote; in percent, higher is better. People who are compared with "
        "each other have one reference fewer than a model.",
        BLEU,
        metrics,
    )
    notes = metrics.get("notes", {})
    reason = notes.get("regions.bleu", NO_REASON)
    table.add(
        "Region-level generator", regions, "regions", noted="regions.bleu.regions", reason=reason
    )
    for label, name, system in (
        ("Full-frame generator on the crop", "full_frame_on_crop", "full_frame"),
        ("nearest neighbour", "nearest_neighbour", "nearest_neighbour"),
        ("people against each other", "people", "people"),
    ):
        noted = f"regions.bleu.{system}"
        if name in regions or noted in notes:
            table.add(label, regions.get(name) or {}, f"regions.{name}", noted=noted)
    return table


def _dense(metrics: Mapping[str, Any]) -> Table | None:
    """Makes the table of boxes and texts together; None if that was not measured."""
    regions = metrics["regions"]
    if not regions or "map" not in regions:
        return None
    table = Table(
        "Boxes and their descriptions together",
        "DenseCap's mean average precision over five thresholds of IoU and six of METEOR, and over "
        "the thresholds of IoU alone; in percent, higher is better.",
        DENSE,
        metrics,
    )
    table.add("Proposed regions, region-level generator", regions, "regions")
    return table


def _timing(metrics: Mapping[str, Any]) -> Table:
    table = Table("Time", "Time of each stage, on the machine that ran it.", {"": "Duration"})
    for name, seconds in metrics["timing"].items():
        table.rows.append((name.removesuffix("_s").capitalize(), [Cell(duration(seconds))]))
    return table


def _absent(title: str, metrics: Mapping[str, Any], part: str) -> Table:
    return Table(title, absent=metrics.get("notes", {}).get(part, NO_REASON))


def duration(seconds: float) -> str:
    """Formats a time for people.

    Example:
        >>> duration(5025.2), duration(93.5), duration(4.21)
        ('1 h 23 min', '1 min 34 s', '4.2 s')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return "{} min {} s".format(*divmod(round(seconds), 60))
    return "{} h {} min".format(*divmod(int(seconds) // 60, 60))
