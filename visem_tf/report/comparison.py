"""Two systems beside each other: differences, their intervals and a paired test."""

from collections.abc import Mapping
from typing import Any

from visem_tf.report.table import RANKING, Cell, Table

_DIFFERENCES = {
    "first": "This run",
    "second": "The other",
    "difference": "Difference",
    "interval": "95 % interval",
    "p": "p",
}
_NAMES = {
    "ranking": "",
    "r1": "R@1",
    "r5": "R@5",
    "r10": "R@10",
    **{f"bleu{n}": f"B-{n}" for n in (1, 2, 3, 4)},
    "meteor": "METEOR",
    "rouge_l": "ROUGE-L",
    "cider": "CIDEr",
    "spice": "SPICE",
    "iou50": "IoU≥0.5",
}


def comparison_tables(metrics: Mapping[str, Any]) -> list[Table]:
    """Makes the tables of the systems that a run was compared with; none without any.

    Args:
        metrics: Content of `metrics.json`.
    """
    tables = []
    if against := metrics.get("against"):
        tables.append(_ranking(against))
    if captions := metrics.get("captions_file"):
        tables.append(_captions(captions))
    for part in ("comparison", "against", "captions_file"):
        found = metrics.get(part) or {}
        if found.get("figures"):
            tables.append(_differences(f"Compared with {found['with']}", found["figures"]))
    return tables


def _ranking(found: Mapping[str, Any]) -> Table:
    table = Table(f"Ranking by {found['with']}", "", RANKING, found)
    for direction, values in found["ranking"].items():
        label = direction.replace("_", " ").capitalize()
        table.add(label, values, f"ranking.{direction}")
        table.add("by chance", found["ranking_chance"][direction])
    return table


def _captions(found: Mapping[str, Any]) -> Table:
    names = {n: _NAMES.get(n, n.replace("_", " ").capitalize()) for n in found["scores"]}
    table = Table(f"Captions of {found['with']}", "", names, found)
    table.add("score", found["scores"], "")
    return table


def _differences(title: str, found: Mapping[str, Mapping[str, float]]) -> Table:
    table = Table(
        title,
        "Differences on the same images. The interval is from a bootstrap over images; p is the "
        "share of random exchanges of the answers of the two systems, image by image, that give a "
        "difference at least as large.",
        _DIFFERENCES,
    )
    for name, row in found.items():
        # Rounded first, so that no minus stands before a zero.
        difference, low, high = (round(row[key], 1) + 0.0 for key in ("difference", "low", "high"))
        texts = [
            *(f"{row[key]:.1f}" for key in ("first", "second")),
            f"{difference:+.1f}",
            f"{low:+.1f} to {high:+.1f}",
            f"{row['p']:.3f}",
        ]
        table.rows.append((_label(name), [Cell(text) for text in texts]))
    return table


def _label(name: str) -> str:
    """Formats the dotted name of a metric.

    Example:
        >>> _label("ranking.image_search.r1"), _label("captions.beam.bleu4")
        ('Image search R@1', 'Captions beam B-4')
    """
    words = [_NAMES.get(part, part.replace("_", " ")) for part in name.split(".")]
    text = " ".join(word for word in words if word)
    return text[:1].upper() + text[1:]
