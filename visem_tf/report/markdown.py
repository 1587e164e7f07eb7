"""The metrics of a run as text: for the terminal, and in Markdown."""

from collections.abc import Mapping
from typing import Any

from visem_tf.report.comparison import comparison_tables
from visem_tf.report.table import Cell, Table
from visem_tf.report.tables import metric_tables


def score_sheet(metrics: Mapping[str, Any], *, markdown: bool = False) -> str:
    """Formats all tables of `metrics.json`, with 95 % intervals in brackets.

    Args:
        metrics: Content of `metrics.json`.
        markdown: Whether to write Markdown, which also says what the numbers mean; otherwise
            tables are plain columns.

    Returns:
        Text that ends with a line break.
    """
    title = (
        f"{metrics['dataset']}, split {metrics['split']}: {metrics['images']:,} images, "
        f"{metrics['sentences']:,} sentences"
    )
    tables = [*metric_tables(metrics), *comparison_tables(metrics)]
    draw = table_as_markdown if markdown else table_as_text
    heading = f"# {title}" if markdown else title
    return "\n\n".join([heading, *(draw(table) for table in tables)]) + "\n"


def table_as_text(table: Table) -> str:
    """Formats a table in columns.

    Example:
        >>> table = Table("Scores", "", {"r1": "R@1"}, {"intervals": {"a.r1": (10.0, 15.0)}})
        >>> table.add("ours", {"r1": 12.5}, "a")
        >>> table.add("by chance", {"r1": 1.0})
        >>> print(table_as_text(table))
        Scores
                                     R@1
          ours       12.5 [10.0 to 15.0]
          by chance                  1.0
    """
    if table.absent:
        return f"{table.title}: {table.absent}"
    lines = [["", *table.columns]]
    lines += [[f"  {label}", *map(_text, cells)] for label, cells in table.rows]
    label_width, *widths = (max(map(len, column)) for column in zip(*lines, strict=True))
    drawn = [
        "  ".join([label.ljust(label_width), *map(str.rjust, texts, widths)])
        for label, *texts in lines
    ]
    return "\n".join([table.title, *drawn, *(f"  {line}" for line in _footnotes(table))])


def table_as_markdown(table: Table) -> str:
    """Formats a table in GitHub's Markdown, under its heading."""
    heading = f"## {table.title}\n\n"
    if table.absent:
        return f"{heading}Not measured: {table.absent}."
    rows = [["", *table.columns], ["---", *["---:"] * len(table.columns)]]
    rows += [[label, *map(_text, cells)] for label, cells in table.rows]
    drawn = "\n".join(f"| {' | '.join(text.replace('|', '/') for text in row)} |" for row in rows)
    notes = "".join(f"\n- {line}" for line in _footnotes(table))
    about = f"{table.about}\n\n" if table.about else ""
    return f"{heading}{about}{drawn}" + (f"\n{notes}" if notes else "")


def _text(cell: Cell) -> str:
    if cell.note is not None:
        return f"– ({cell.note})"
    return f"{cell.text} [{cell.interval}]" if cell.interval else cell.text


def _footnotes(table: Table) -> list[str]:
    return [*(f"({n}) {note}" for n, note in enumerate(table.notes, start=1)), *table.remarks]
