"""Tables of metrics: numbers with their intervals, and the reasons for those that are absent."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

RANKING = {"r1": "R@1", "r5": "R@5", "r10": "R@10", "median_rank": "Median rank"}
BLEU = {f"bleu{n}": f"BLEU\N{NON-BREAKING HYPHEN}{n}" for n in (1, 2, 3, 4)}
CAPTIONS = {
    **BLEU,
    "meteor": "METEOR",
    "rouge_l": "ROUGE\N{NON-BREAKING HYPHEN}L",
    "cider": "CIDEr",
    "spice": "SPICE",
    "distinct_captions": "Distinct captions",
    "vocabulary_used": "Words used",
    "mean_length": "Words per caption",
    "unfinished": "Unfinished",
    "repeating": "Repeating words",
    "copied": "Copied from training",
}
_COUNTS = ("median_rank", "distinct_captions", "vocabulary_used", "snippets")
REGIONS = {
    "word_accuracy": "Word accuracy",
    "phrase_iou50": "Phrases with IoU ≥ 0.5",
    "pointing": "Pointing",
}
DENSE = {"map": "mAP", "detection_map": "mAP of the boxes alone"}
_ALL = {**CAPTIONS, **REGIONS, **DENSE}
NO_REASON = "not in metrics.json, which gives no reason"


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
        reason: str = NO_REASON,
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
