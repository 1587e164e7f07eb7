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
_COUNTS = ("median_rank", "distinct_captions", "vocabulary_used")
_REGIONS = {
    "word_accuracy": "Word accuracy",
    "phrase_iou50": "Phrases with IoU ≥ 0.5",
    "pointing": "Pointing",
}
_DENSE = {"map": "mAP", "detection_map": "mAP of the boxes alone"}
_UNPUBLISHED = {"": "not published"}
_NO_REASON = "not in metrics.json, which gives no reason"


@dataclass(frozen=True)
class Cell:
    """A number in a table.

    Attributes:
        text: The number; empty if it is absent.
        note: Number, from 1, of the note of the table that says why it is absent.
        interval: Its 95 % confidence interval; empty if there is none.
    """

    text: str
    note: int | None = None
    interval: str = ""


@dataclass(frozen=True)
class Table:
    """A table of metrics.

    Attributes:
        title: Heading.
        about: What the numbers mean.
        names: Headings of the columns by the names of the metrics.
        rows: Labels with a cell per column. The labels of baselines and of published results
            begin with a small letter.
        notes: Why cells are absent; cells refer to notes by number.
        remarks: Other facts about the numbers.
        absent: Why the whole table is absent; empty if it is not.
    """

    title: str
    about: str = ""
    names: Mapping[str, str] = field(default_factory=dict)
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
        reasons: Mapping[str, str] | None = None,
        intervals: Mapping[str, Sequence[float]] | None = None,
    ) -> None:
        """Appends a row.

        Args:
            label: Label of the row.
            values: Numbers by the names of the metrics; None and missing ones are absent.
            reasons: Why numbers are absent, by name; "" is the reason for all others. Those of
                numbers that are not absent become remarks.
            intervals: Confidence intervals by name.
        """
        reasons, intervals = reasons or {}, intervals or {}
        cells = []
        for name in self.names:
            if values.get(name) is None:
                reason = reasons.get(name) or reasons.get("") or _NO_REASON
                if reason not in self.notes:
                    self.notes.append(reason)
                cells.append(Cell("", self.notes.index(reason) + 1))
            else:
                ends = " to ".join(_number(name, end) for end in intervals.get(name, ()))
                cells.append(Cell(_number(name, values[name]), interval=ends))
        self.rows.append((label, cells))
        known = {**CAPTIONS, **self.names}
        for name, text in reasons.items():
            explains_absence = not name or (name in known and values.get(name) is None)
            remark = f"{known.get(name, name.replace('_', ' '))}: {text}"
            if not explains_absence and remark not in self.remarks:
                self.remarks.append(remark)

    def add_published(self, rows: Sequence[tuple[str, Mapping[str, float]]]) -> None:
        """Appends rows of published results."""
        for label, values in rows:
            self.add(label, values, _UNPUBLISHED)


def metric_tables(metrics: Mapping[str, Any] | None) -> list[Table]:
    """Makes all tables of a run.

    Args:
        metrics: Content of `metrics.json`; None if there is none.

    Returns:
        Tables of ranking, captions, regions, region descriptions and times; one absent table
        without `metrics`.
    """
    if metrics is None:
        return [Table("Metrics", absent="the stage evaluate has not been run (no metrics.json)")]
    makers = (_ranking, _folds, _captions, _regions, _descriptions, _dense, _timing)
    tables = [make(metrics) for make in makers]
    return [table for table in tables if table is not None]


def _ranking(metrics: Mapping[str, Any]) -> Table:
    table = Table(
        "Ranking",
        "Image annotation finds a sentence of an image among all sentences, image search the image "
        "of a sentence among all images. R@K is the percentage found among the first K, the higher "
        "the better; the lower the median rank, the better.",
        RANKING,
    )
    for direction in metrics["ranking"]:
        for part, label in (
            ("ranking", direction.replace("_", " ").capitalize()),
            ("ranking_whole_frame", "the whole frame alone"),
            ("ranking_chance", "by chance"),
        ):
            values = (metrics.get(part) or {}).get(direction)
            if values:
                table.add(label, values, intervals=_intervals(metrics, f"{part}.{direction}"))
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
        return Table(title, absent=_notes(metrics).get("captions", _NO_REASON))
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
    )
    for search, scores in captions.items():
        label = search.replace("_", " ")
        if search in ("greedy", "beam"):
            beams = f", {scores['beam_size']} beams" if "beam_size" in scores else ""
            label = f"{search.capitalize()} search{beams}"
        part = f"captions.{search}"
        table.add(label, scores, _notes(metrics, part), _intervals(metrics, part))
    table.add_published(published(metrics).captions)
    return table


def _regions(metrics: Mapping[str, Any]) -> Table:
    title, regions = "Alignment of words and regions", metrics["regions"]
    if not regions:
        return Table(title, absent=_notes(metrics).get("regions", _NO_REASON))
    table = Table(
        title,
        "Against the boxes of phrases in the data set; in percent, the higher the better. Word "
        "accuracy: words whose region overlaps the true box with an IoU of at least 0.5. "
        "Pointing: phrases whose region has its centre in the true box.",
        _REGIONS,
    )
    for label, part, values in (
        ("Smoothed by the MRF", "regions", regions),
        ("Without the MRF", "regions.without_mrf", regions.get("without_mrf")),
        ("The whole frame for every word", "regions.whole_frame", regions.get("whole_frame")),
        ("by chance", "regions.chance", regions.get("chance")),
    ):
        if values:
            table.add(label, values, _reasons(metrics, _REGIONS), _intervals(metrics, part))
    return table


def _descriptions(metrics: Mapping[str, Any]) -> Table:
    title, regions = "Region descriptions", metrics["regions"]
    if not regions:
        return Table(title, absent=_notes(metrics).get("regions", _NO_REASON))
    table = Table(
        title,
        f"Of {regions.get('described_boxes', 'the')} boxes in the data set, against what people "
        "wrote about them; in percent, the higher the better. People against each other have one "
        "reference fewer than a model.",
        _BLEU,
    )
    for label, noted, part, values in (
        ("Region-level generator", "regions", "regions", regions),
        *(
            (label, noted, f"regions.{name}", regions.get(name))
            for label, noted, name in (
                ("Full-frame generator on the crop", "full_frame", "full_frame_on_crop"),
                ("nearest neighbour", "nearest_neighbour", "nearest_neighbour"),
                ("people against each other", "people", "people"),
            )
        ),
    ):
        reasons = _notes(metrics, f"regions.bleu.{noted}")
        if values is not None or reasons:
            reasons = {"": _notes(metrics).get("regions.bleu", ""), **reasons}
            table.add(label, values or {}, reasons, _intervals(metrics, part))
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
    )
    table.add("Proposed regions, region-level generator", regions, _reasons(metrics, _DENSE))
    return table


def _timing(metrics: Mapping[str, Any]) -> Table:
    rows = [
        (name.removesuffix("_s").capitalize(), [Cell(duration(seconds))])
        for name, seconds in metrics["timing"].items()
    ]
    about = "Of the stages, on the machine that ran them."
    return Table("Time", about, {"duration": "Duration"}, rows)


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


def below(values: Mapping[str, Any], part: str) -> dict[str, Any]:
    """Returns the values of a part and below it, by their names relative to the part.

    Example:
        >>> below({"a": 1, "a.b": 2, "ab": 3}, "a")
        {'': 1, 'b': 2}
    """
    return {
        name.removeprefix(part).removeprefix("."): value
        for name, value in values.items()
        if name == part or name.startswith(f"{part}.")
    }


def _intervals(metrics: Mapping[str, Any], part: str) -> dict[str, Sequence[float]]:
    return below(metrics.get("intervals") or {}, part)


def _notes(metrics: Mapping[str, Any], part: str = "") -> dict[str, str]:
    notes = metrics.get("notes", {})
    return below(notes, part) if part else notes


def _reasons(metrics: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, str]:
    """Returns the notes on metrics of regions with these names."""
    notes = _notes(metrics, "regions")
    return {name: notes[name] for name in names if name in notes}


def _number(name: str, value: float) -> str:
    return f"{round(value, 1):g}" if name in _COUNTS else f"{value:.1f}"
