"""Two systems beside each other: differences, their intervals and a paired test."""

from collections.abc import Mapping
from typing import Any

from visem_tf.report.tables import Cell, Table

_COLUMNS = ["This run", "The other", "Difference", "95 % interval", "p"]
_NAMES = {
    "ranking": "",
    "r1": "R@1",
    "r5": "R@5",
    "r10": "R@10",
    "bleu1": "B-1",
    "bleu2": "B-2",
    "bleu3": "B-3",
    "bleu4": "B-4",
    "meteor": "METEOR",
    "rouge_l": "ROUGE-L",
    "cider": "CIDEr",
    "spice": "SPICE",
    "iou50": "IoU≥0.5",
}


def comparison_tables(metrics: Mapping[str, Any]) -> list[Table]:
    """Tables of what a run was compared with; none where it was not.

    Args:
      metrics: What `metrics.json` holds.
    """
    tables = []
    for part in ("comparison", "against", "captions_file"):
        if found := metrics.get(part):
            tables += _TABLES[part](found)
    return tables


def _comparison(found: Mapping[str, Any]) -> list[Table]:
    return [_differences(f"Compared with {found['with']}", found["figures"])]


def _against(found: Mapping[str, Any]) -> list[Table]:
    table = Table(f"Ranking by {found['with']}", "", ["R@1", "R@5", "R@10", "Median rank"])
    names = dict(zip(("r1", "r5", "r10", "median_rank"), table.columns, strict=True))
    for direction, figures in found["ranking"].items():
        ends = {
            name.rpartition(".")[2]: e
            for name, e in (found.get("intervals") or {}).items()
            if name.startswith(f"ranking.{direction}.")
        }
        table.add(direction.replace("_", " ").capitalize(), figures, names, None, ends)
        table.add("by chance", found["ranking_chance"][direction], names)
    return [table, *_beside(found)]


def _captions_file(found: Mapping[str, Any]) -> list[Table]:
    scores = found["scores"]
    names = {name: _NAMES.get(name, name.replace("_", " ").capitalize()) for name in scores}
    table = Table(f"Captions of {found['with']}", "", list(names.values()))
    ends = {n.rpartition(".")[2]: e for n, e in (found.get("intervals") or {}).items()}
    table.add("score", scores, names, found["notes"], ends)
    for name, note in found["notes"].items():
        if scores.get(name) is not None or name not in scores:
            table.remarks.append(f"{names.get(name, name)}: {note}")
    return [table, *_beside(found)]


def _beside(found: Mapping[str, Any]) -> list[Table]:
    if not found.get("figures"):
        return []
    return [_differences(f"Compared with {found['with']}", found["figures"])]


_TABLES = {"comparison": _comparison, "against": _against, "captions_file": _captions_file}


def _differences(title: str, figures: Mapping[str, Mapping[str, float]]) -> Table:
    table = Table(
        title,
        "Differences on the same pictures. The interval draws pictures with replacement; p is how "
        "often exchanging the two systems' answers, picture by picture at random, gives a "
        "difference as large.",
        _COLUMNS,
    )
    for name, row in figures.items():
        numbers = [f"{row[key]:.1f}" for key in ("first", "second")]
        # Rounded first, and no minus before a zero.
        difference, low, high = (round(row[key], 1) + 0.0 for key in ("difference", "low", "high"))
        numbers += [f"{difference:+.1f}", f"{low:+.1f} to {high:+.1f}"]
        table.rows.append((_label(name), [Cell(text) for text in [*numbers, f"{row['p']:.3f}"]]))
    return table


def _label(name: str) -> str:
    """A figure's dotted name for people.

    Example:
      >>> _label("ranking.image_search.r1"), _label("captions.beam.bleu4")
      ('Image search R@1', 'Captions beam B-4')
    """
    words = [_NAMES.get(part, part.replace("_", " ")) for part in name.split(".")]
    text = " ".join(word for word in words if word)
    return text[:1].upper() + text[1:]
