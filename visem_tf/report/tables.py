"""The metrics of `metrics.json` as tables, which say why a number is missing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from visem_tf.metrics.published import published

RANKING = {"r1": "R@1", "r5": "R@5", "r10": "R@10", "median_rank": "Median rank"}
_BLEU = {f"bleu{n}": f"BLEU\N{NON-BREAKING HYPHEN}{n}" for n in (1, 2, 3, 4)}
CAPTIONS = {
    **_BLEU,
    "meteor": "METEOR",
    "rouge_l": "ROUGE\N{NON-BREAKING HYPHEN}L",
    "cider": "CIDEr",
    "spice": "SPICE",
    "distinct_captions": "Distinct captions",
    "vocabulary_used": "Words used",
    "mean_length": "Words per caption",
    "copied": "Copied from training",
}
_OPTIONAL = ("spice", "vocabulary_used", "copied")
_COUNTS = ("median_rank", "distinct_captions", "vocabulary_used", "snippets")
_REGIONS = {
    "word_accuracy": "Word accuracy",
    "phrase_iou50": "Phrases with IoU ≥ 0.5",
    "pointing": "Pointing",
}
_SNIPPETS = {
    "f1": "F1",
    "precision": "Precision",
    "recall": "Recall",
    "overlap": "Overlap",
    "function_word_ends": "Function word at an end",
    "mean_length": "Words",
    "snippets": "Snippets",
}
_DENSE = {"map": "mAP", "detection_map": "mAP of the boxes alone"}
_ALL = {**CAPTIONS, **_REGIONS, **_DENSE}
_NO_REASON = "not in metrics.json, which gives no reason"


@dataclass(frozen=True)
class Cell:
    """A number in a table.

    Attributes:
        text: The number; empty if it is absent.
        note: Number, from 1, of the note of the table that says why it is absent.
        interval: 95 % confidence interval; empty if there is none.
    """

    text: str
    note: int | None = None
    interval: str = ""


@dataclass(frozen=True)
class Table:
    """A table of metrics.

    Attributes:
        title: Heading.
        about: Explanation of the numbers.
        names: Headings of the columns by the names of the metrics.
        metrics: Content of `metrics.json`, or a part of it with "intervals" and "notes".
        rows: Labels with a cell per column. The labels of baselines and of published results
            begin with a small letter.
        notes: Why cells are absent; cells refer to notes by number.
        remarks: Other facts about the numbers.
        absent: Why the whole table is absent; empty if it is not.
    """

    title: str
    about: str = ""
    names: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    rows: list[tuple[str, list[Cell]]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    absent: str = ""

    @property
    def columns(self) -> list[str]:
        """Headings of the columns."""
        return list(self.names.values())

    @property
    def has_intervals(self) -> bool:
        """Whether a number has a confidence interval."""
        return any(cell.interval for _, cells in self.rows for cell in cells)

    def add(
        self,
        label: str,
        values: Mapping[str, Any],
        part: str | None = None,
        *,
        noted: str | None = None,
        reason: str = _NO_REASON,
    ) -> None:
        """Appends a row.

        Notes on numbers that are not absent become remarks.

        Args:
            label: Label of the row.
            values: Numbers by the names of the metrics; None and missing ones are absent.
            part: Part of the metrics that the row shows, such as "ranking.image_search", by which
                intervals and notes are found; None for values without any.
            noted: Part by which notes are found, if it is another one.
            reason: Why numbers are absent that have no note.
        """
        notes = _below(self.metrics.get("notes"), noted or part)
        intervals = _below(self.metrics.get("intervals"), part)
        cells = []
        for name in self.names:
            if values.get(name) is None:
                why = notes.get(name) or notes.get("") or reason
                if why not in self.notes:
                    self.notes.append(why)
                cells.append(Cell("", self.notes.index(why) + 1))
            else:
                ends = " to ".join(_number(name, end) for end in intervals.get(name, ()))
                cells.append(Cell(_number(name, values[name]), interval=ends))
        self.rows.append((label, cells))
        for name, text in notes.items():
            explains_absence = not name or (name in _ALL and values.get(name) is None)
            remark = f"{self.names.get(name, name.replace('_', ' '))}: {text}"
            if not explains_absence and remark not in self.remarks:
                self.remarks.append(remark)

    def add_published(self, rows: Sequence[tuple[str, Mapping[str, float]]]) -> None:
        """Appends rows of published results."""
        for label, values in rows:
            self.add(label, values, reason="not published")


def metric_tables(metrics: Mapping[str, Any] | None) -> list[Table]:
    """Makes all tables of a run.

    Args:
        metrics: Content of `metrics.json`; None if there is none.

    Returns:
        Tables of ranking, captions, regions, snippets, region descriptions and times; one absent
        table without `metrics`.
    """
    if metrics is None:
        return [Table("Metrics", absent="the stage evaluate has not been run (no metrics.json)")]
    makers = (
        _ranking,
        _folds,
        _captions,
        _regions,
        _snippets,
        _descriptions,
        _dense,
        _timing,
    )
    tables = [make(metrics) for make in makers]
    return [table for table in tables if table is not None]


def _ranking(metrics: Mapping[str, Any]) -> Table:
    table = Table(
        "Ranking",
        "Image annotation finds a sentence of an image among all sentences, image search the image "
        "of a sentence among all images. R@K is the percentage found among the first K, the higher "
        "the better; the lower the median rank, the better.",
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
        f"The mean of {folds['folds']} folds, and the first of them: two protocols that are both "
        "called 1K. Neither compares with a ranking of all images.",
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
        "One sentence per image against those that people wrote; in percent, the higher the "
        "better. The last columns reveal a model that gives all images the same sentence, or that "
        "learned sentences by heart.",
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
        "Against the boxes of phrases in the data set; in percent, the higher the better. Word "
        "accuracy: words whose region overlaps the true box with an IoU of at least 0.5. "
        "Pointing: phrases whose region has its centre in the true box.",
        _REGIONS,
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
        "The parts of sentences that the region-level generator learns from, against the phrases "
        "that people marked, in percent. Precision: snippets that are a phrase, word by word; "
        "recall: phrases that are a snippet; F1: their harmonic mean. Overlap: the mean over "
        "phrases of the largest IoU of words with a snippet. Function word at an end: snippets "
        "that begin or end in one (the fewer the better), except for determiners that begin one.",
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
        f"Of {regions.get('described_boxes', 'the')} boxes in the data set, against what people "
        "wrote about them; in percent, the higher the better. People against each other have one "
        "reference fewer than a model.",
        _BLEU,
        metrics,
    )
    notes = metrics.get("notes", {})
    reason = notes.get("regions.bleu", _NO_REASON)
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
        "those of IoU alone; in percent, the higher the better.",
        _DENSE,
        metrics,
    )
    table.add("Proposed regions, region-level generator", regions, "regions")
    return table


def _timing(metrics: Mapping[str, Any]) -> Table:
    table = Table("Time", "Of the stages, on the machine that ran them.", {"": "Duration"})
    for name, seconds in metrics["timing"].items():
        table.rows.append((name.removesuffix("_s").capitalize(), [Cell(duration(seconds))]))
    return table


def _absent(title: str, metrics: Mapping[str, Any], part: str) -> Table:
    return Table(title, absent=metrics.get("notes", {}).get(part, _NO_REASON))


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


def _below(values: Mapping[str, Any] | None, part: str | None) -> dict[str, Any]:
    """Returns the values of a part by their names in it, and the value about all of it as "".

    Example:
        >>> _below({"a": 1, "a.b": 2, "a.b.c": 3, "d": 4}, "a")
        {'': 1, 'b': 2}
    """
    if part is None or values is None:
        return {}
    prefix = f"{part}." if part else ""
    found = {n.removeprefix(prefix): v for n, v in values.items() if n.startswith(prefix)}
    found = {name: value for name, value in found.items() if "." not in name}
    return {"": values[part], **found} if part in values else found


def _number(name: str, value: float) -> str:
    return f"{round(value, 1):g}" if name in _COUNTS else f"{value:.1f}"
