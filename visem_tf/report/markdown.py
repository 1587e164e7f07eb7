"""The numbers of a run as text: for the terminal, and in Markdown for where people paste them."""

from collections.abc import Mapping
from typing import Any

from visem_tf.report.comparison import comparison_tables
from visem_tf.report.tables import Cell, Table, metric_tables

_ABSENT = "–"


def score_sheet(metrics: Mapping[str, Any], *, markdown: bool = False) -> str:
    """All tables of `metrics.json`, with 95 % intervals in brackets.

    Args:
      metrics: What `metrics.json` holds.
      markdown: Whether tables are drawn in Markdown, with what their numbers mean; otherwise in
        columns.

    Returns:
      Text that ends with a line break.
    """
    title = (
        f"{metrics['dataset']}, split {metrics['split']}: {metrics['images']:,} pictures, "
        f"{metrics['sentences']:,} sentences"
    )
    tables = [*metric_tables(metrics), *comparison_tables(metrics)]
    draw = table_as_markdown if markdown else table_as_text
    heading = f"# {title}" if markdown else title
    return "\n\n".join([heading, *(draw(table) for table in tables)]) + "\n"


def table_as_text(table: Table) -> str:
    """A table in columns.

    Example:
      >>> table = Table("Scores", columns=["R@1"])
      >>> table.add("ours", {"r1": 12.5}, {"r1": "R@1"}, None, {"r1": (10.0, 15.0)})
      >>> table.add("by chance", {"r1": 1.0}, {"r1": "R@1"})
      >>> print(table_as_text(table))
      Scores
                                   R@1
        ours       12.5 [10.0 to 15.0]
        by chance                  1.0
    """
    if table.absent:
        return f"{table.title}: {table.absent}"
    lines = [["", *table.columns]]
    lines += [[f"  {label}", *(_text(cell) for cell in cells)] for label, cells in table.rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    drawn = [
        "  ".join(
            [line[0].ljust(widths[0])]
            + [text.rjust(width) for text, width in zip(line[1:], widths[1:], strict=True)]
        )
        for line in lines
    ]
    return "\n".join([table.title, *drawn, *(f"  {line}" for line in _footnotes(table))])


def table_as_markdown(table: Table) -> str:
    """A table in GitHub's Markdown, under its heading."""
    heading = f"## {table.title}\n\n"
    if table.absent:
        return f"{heading}Not measured: {table.absent}."
    rows = [["", *table.columns], ["---", *["---:"] * len(table.columns)]]
    rows += [[label, *(_text(cell) for cell in cells)] for label, cells in table.rows]
    drawn = "\n".join(f"| {' | '.join(text.replace('|', '/') for text in row)} |" for row in rows)
    notes = "".join(f"\n- {line}" for line in _footnotes(table))
    about = f"{table.about}\n\n" if table.about else ""
    return f"{heading}{about}{drawn}" + (f"\n{notes}" if notes else "")


def _text(cell: Cell) -> str:
    if cell.note is not None:
        return f"{_ABSENT} ({cell.note})"
    return f"{cell.text} [{cell.interval}]" if cell.interval else cell.text


def _footnotes(table: Table) -> list[str]:
    return [*(f"({n}) {note}" for n, note in enumerate(table.notes, start=1)), *table.remarks]
