"""The numbers of `metrics.json` as tables, in which what is missing says why."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from visem_tf.metrics.published import published

_RANKING = {"r1": "R@1", "r5": "R@5", "r10": "R@10", "median_rank": "Median rank"}
_BLEU = {f"bleu{n}": f"BLEU\N{NON-BREAKING HYPHEN}{n}" for n in (1, 2, 3, 4)}
_CAPTIONS = {
    **_BLEU,
    "meteor": "METEOR",
    "rouge_l": "ROUGE\N{NON-BREAKING HYPHEN}L",
    "cider": "CIDEr",
    "spice": "SPICE",
    "distinct_captions": "Distinct captions",
    "vocabulary_used": "Words used",
    "mean_length": "Words a caption",
    "copied": "Copied from training",
}
_OPTIONAL = ("spice", "vocabulary_used", "copied")
_SEARCHES = ("greedy", "beam")
_REGIONS = {
    "word_accuracy": "Word accuracy",
    "phrase_iou50": "Phrases with IoU ≥ 0.5",
    "pointing": "Pointing",
}
_DENSE = {"map": "mAP", "detection_map": "mAP of the boxes alone"}
_UNPUBLISHED = "not published"
_NO_REASON = "not in metrics.json, which gives no reason"


@dataclass(frozen=True)
class Cell:
    """A number in its table.

    Attributes:
      text: The number; empty if it is absent.
      note: Position in the table's `notes` of why it is absent, from 1.
      interval: Its 95 % confidence interval, where there is one.
    """

    text: str
    note: int | None = None
    interval: str = ""


@dataclass(frozen=True)
class Table:
    """A table of the report.

    Attributes:
      title: Heading.
      about: What the numbers mean.
      columns: Headings of the columns.
      rows: A label and a cell a column each. A label that begins with a small letter is of
        a baseline, or of somebody else's model.
      notes: Why cells are absent; cells refer to them by number.
      remarks: What else to know about the numbers.
      absent: Why there is no table at all; empty if there is one.
    """

    title: str
    about: str = ""
    columns: list[str] = field(default_factory=list)
    rows: list[tuple[str, list[Cell]]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    absent: str = ""

    @property
    def has_intervals(self) -> bool:
        """Whether a number of it has a confidence interval."""
        return any(cell.interval for _, cells in self.rows for cell in cells)

    def add(
        self,
        label: str,
        figures: Mapping[str, Any],
        names: Mapping[str, str],
        reasons: Mapping[str, str] | None = None,
        intervals: Mapping[str, Sequence[float]] | None = None,
    ) -> None:
        """Appends a row.

        Args:
          label: Stands before it.
          figures: The numbers by name; None or missing is absent.
          names: Those wanted, in order of the columns.
          reasons: Why numbers are absent, by name; the key "" stands for all of them.
          intervals: Of the numbers, by name.
        """
        reasons, intervals = reasons or {}, intervals or {}
        cells = []
        for name in names:
            value = figures.get(name)
            if value is None:
                reason = reasons.get(name) or reasons.get("") or _NO_REASON
                cells.append(Cell("", self._note(reason)))
            else:
                ends = " to ".join(_number(name, end) for end in intervals.get(name, ()))
                cells.append(Cell(_number(name, value), interval=ends))
        self.rows.append((label, cells))

    def _note(self, text: str) -> int:
        if text not in self.notes:
            self.notes.append(text)
        return self.notes.index(text) + 1


def metric_tables(metrics: Mapping[str, Any] | None) -> list[Table]:
    """All tables of a run.

    Args:
      metrics: What `metrics.json` holds; None if there is none.

    Returns:
      Ranking, captions, regions, region descriptions and times; a single absent one without
      `metrics`.
    """
    if metrics is None:
        return [Table("Numbers", absent="the stage evaluate has not been run (no metrics.json)")]
    notes = metrics.get("notes", {})
    tables = [
        _ranking(metrics),
        _folds(metrics),
        _captions(metrics, notes),
        _regions(metrics, notes),
        _descriptions(metrics, notes),
        _dense(metrics, notes),
        _timing(metrics),
    ]
    return [table for table in tables if table is not None]


def _ranking(metrics: Mapping[str, Any]) -> Table:
    table = Table(
        "Ranking",
        "Image annotation looks for a picture's sentence among all sentences, image search for a "
        "sentence's picture among all pictures. R@K is the percentage found among the first K, "
        "the higher the better; of the median rank, the lower the better.",
        list(_RANKING.values()),
    )
    known = published(metrics)
    for direction, figures in metrics["ranking"].items():
        label = direction.replace("_", " ").capitalize()
        table.add(label, figures, _RANKING, None, _intervals(metrics, f"ranking.{direction}"))
        if frame := metrics.get("ranking_whole_frame"):
            ends = _intervals(metrics, f"ranking_whole_frame.{direction}")
            table.add("the whole frame alone", frame[direction], _RANKING, None, ends)
        if chance := metrics.get("ranking_chance"):
            table.add("by chance", chance[direction], _RANKING)
        for row, numbers in known.ranking.get(direction, []) if known else []:
            table.add(row, numbers, _RANKING, {"": _UNPUBLISHED})
    return table


def _folds(metrics: Mapping[str, Any]) -> Table | None:
    """The ranking in folds; None in splits that are too small for it."""
    folds = metrics.get("ranking_folds")
    if not folds:
        return None
    table = Table(
        f"Ranking in folds of {folds['fold_size']:,} pictures",
        f"The mean of {folds['folds']} folds, and the first of them: two protocols that are both "
        "called 1K. Neither compares with a ranking of all pictures.",
        list(_RANKING.values()),
    )
    known = published(metrics)
    for direction in folds["mean"]:
        label = direction.replace("_", " ").capitalize()
        table.add(f"{label}, mean of {folds['folds']}", folds["mean"][direction], _RANKING)
        table.add("the first fold alone", folds["first"][direction], _RANKING)
        for row, numbers in known.folds.get(direction, []) if known else []:
            table.add(row, numbers, _RANKING, {"": _UNPUBLISHED})
    return table


def _captions(metrics: Mapping[str, Any], notes: Mapping[str, str]) -> Table:
    title = "Full-frame descriptions"
    captions = metrics["captions"]
    if not captions:
        return Table(title, absent=notes.get("captions", _NO_REASON))
    names = {
        name: heading
        for name, heading in _CAPTIONS.items()
        if name not in _OPTIONAL or any(s.get(name) is not None for s in captions.values())
    }
    table = Table(
        title,
        "One sentence a picture against those that people wrote; in percent, the higher the "
        "better. The last columns betray a model that says the same of every picture, or learned "
        "sentences by heart.",
        list(names.values()),
    )
    for search, scores in captions.items():
        reasons = _under(notes, f"captions.{search}")
        if search in _SEARCHES:
            beams = f", {scores['beam_size']} beams" if "beam_size" in scores else ""
            label = f"{search.capitalize()} search{beams}"
        else:
            label = search.replace("_", " ")
        ends = _intervals(metrics, f"captions.{search}")
        table.add(label, scores, names, reasons, ends)
        _add_remarks(table, reasons, scores)
    known = published(metrics)
    for row, numbers in known.captions if known else []:
        table.add(row, numbers, names, {"": _UNPUBLISHED})
    return table


def _regions(metrics: Mapping[str, Any], notes: Mapping[str, str]) -> Table:
    title = "Alignment of words and regions"
    regions = metrics["regions"]
    if not regions:
        return Table(title, absent=notes.get("regions", _NO_REASON))
    table = Table(
        title,
        "Against the boxes of phrases that the data set knows; in percent, the higher the better. "
        "Word accuracy: words whose region overlaps the true box with IoU 0.5 or more. Pointing: "
        "phrases whose region has its centre in the true box.",
        list(_REGIONS.values()),
    )
    for label, name, figures in (
        ("Smoothed by the MRF", "", regions),
        ("Without the MRF", ".without_mrf", regions.get("without_mrf")),
        ("The whole frame for every word", ".whole_frame", regions.get("whole_frame")),
        ("by chance", ".chance", regions.get("chance")),
    ):
        if figures:
            ends = _intervals(metrics, f"regions{name}")
            table.add(label, figures, _REGIONS, _under(notes, "regions"), ends)
    return table


def _descriptions(metrics: Mapping[str, Any], notes: Mapping[str, str]) -> Table:
    title = "Region descriptions"
    regions = metrics["regions"]
    if not regions:
        return Table(title, absent=notes.get("regions", _NO_REASON))
    table = Table(
        title,
        f"Of {regions.get('described_boxes', 'the')} boxes that the data set knows, against what "
        "people wrote of them; in percent, the higher the better. People against each other have "
        "one reference fewer than a model.",
        list(_BLEU.values()),
    )
    for label, name, key in (
        ("Region-level generator", "regions", ""),
        ("Full-frame generator on the crop", "full_frame", "full_frame_on_crop"),
        ("nearest neighbour", "nearest_neighbour", "nearest_neighbour"),
        ("people against each other", "people", "people"),
    ):
        figures = regions.get(key) if key else regions
        reasons = _under(notes, f"regions.bleu.{name}")
        if figures is None and not reasons:
            continue
        ends = _intervals(metrics, f"regions.{key}" if key else "regions")
        table.add(label, figures or {}, _BLEU, reasons, ends)
        _add_remarks(table, reasons, figures or {})
    return table


def _dense(metrics: Mapping[str, Any], notes: Mapping[str, str]) -> Table | None:
    """Boxes and texts together; None where that was not measured."""
    regions = metrics["regions"]
    if not regions or "map" not in regions:
        return None
    table = Table(
        "Boxes and their descriptions together",
        "DenseCap's mean average precision over five thresholds of IoU and six of METEOR, and over "
        "those of IoU alone; in percent, the higher the better.",
        list(_DENSE.values()),
    )
    table.add("Proposed regions, region-level generator", regions, _DENSE, _under(notes, "regions"))
    table.remarks.extend(f"mAP: {text}" for text in _under(notes, "regions.map.meteor").values())
    return table


def _timing(metrics: Mapping[str, Any]) -> Table:
    table = Table("Time", "Of the stages, on the machine that ran them.", ["Duration"])
    for name, seconds in metrics["timing"].items():
        table.rows.append((name.removesuffix("_s").capitalize(), [Cell(duration(seconds))]))
    return table


def duration(seconds: float) -> str:
    """A time in words.

    Example:
      >>> duration(5025.2), duration(93.5), duration(4.21)
      ('1 h 23 min', '1 min 34 s', '4.2 s')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    if seconds < 3600:
        return "{} min {} s".format(*divmod(round(seconds), 60))
    return "{} h {} min".format(*divmod(int(seconds) // 60, 60))


def _intervals(metrics: Mapping[str, Any], prefix: str) -> dict[str, Sequence[float]]:
    """The intervals of a part's figures, by their names in it."""
    found = metrics.get("intervals") or {}
    start = f"{prefix}."
    return {name.removeprefix(start): e for name, e in found.items() if name.startswith(start)}


def _under(notes: Mapping[str, str], prefix: str) -> dict[str, str]:
    """The notes about a part, by what of it they are about; "" where they are about all of it."""
    return {
        name.removeprefix(prefix).removeprefix("."): text
        for name, text in notes.items()
        if name == prefix or name.startswith(f"{prefix}.")
    }


def _add_remarks(table: Table, reasons: Mapping[str, str], scores: Mapping[str, Any]) -> None:
    """Notes that are not about an absent number."""
    for name, text in reasons.items():
        remark = f"{_CAPTIONS.get(name, name.replace('_', ' '))}: {text}"
        explains_absence = not name or (name in _CAPTIONS and scores.get(name) is None)
        if not explains_absence and remark not in table.remarks:
            table.remarks.append(remark)


def _number(name: str, value: float) -> str:
    if name in ("median_rank", "distinct_captions", "vocabulary_used"):
        return f"{round(value, 1):g}"
    return f"{value:.1f}"
