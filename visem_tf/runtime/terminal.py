"""Prints tables and texts; control characters in names and sentences are replaced."""

import sys
from collections.abc import Sequence

import rich.console
import rich.table
import rich.text

from visem_tf.runtime.streams import without_controls

_UNLIMITED = 10_000


def printable(text: str) -> str:
    r"""Returns a text on one line, without anything that could control a terminal.

    Args:
        text: Any text; control characters and undecodable bytes of file names become `�`.

    Example:
        >>> printable("a\x1b[31m red\nball")
        'a�[31m red ball'
    """
    return without_controls(" ".join(text.split()))


def print_line(text: str, *, indent: int = 0, style: str = "") -> None:
    """Prints a text, wrapped at the width of the terminal if the output is one.

    Args:
        text: Text to print, made `printable`.
        indent: Number of blanks before every line.
        style: Style of Rich, such as "bold", visible in terminals only.
    """
    console = _console()
    padded = rich.text.Text(printable(text), style=style)
    if indent and console.is_terminal:
        lines = padded.wrap(console, max(20, console.width - indent))
        for line in lines:
            console.print(" " * indent, line, sep="", soft_wrap=True)
    else:
        console.print(" " * indent, padded, sep="", soft_wrap=not console.is_terminal)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, indent: int = 0) -> None:
    """Prints a table, as wide as it needs to be if the output is not a terminal.

    Args:
        columns: Headings. A column whose heading ends with ">" is aligned to the right, and the
            sign is not printed.
        rows: Texts, one for each column.
        indent: Number of blanks before every line.

    Example:
        >>> print_table(["#>", "text"], [["1", "a [red] ball"], ["12", "a dog"]])
         # text
         1 a [red] ball
        12 a dog
    """
    table = rich.table.Table(
        box=None, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False, header_style="dim"
    )
    for column in columns:
        right = column.endswith(">")
        table.add_column(
            column.removesuffix(">"),
            justify="right" if right else "left",
            no_wrap=right,
            overflow="fold",
        )
    for row in rows:
        table.add_row(*(rich.text.Text(printable(cell)) for cell in row))
    console = _console()
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        sys.stdout.write(" " * indent + line.rstrip() + "\n")


def _console() -> rich.console.Console:
    """The console as it is now, or a very wide one if the output is not a terminal."""
    console = rich.console.Console(file=sys.stdout, markup=False, highlight=False, emoji=False)
    if not console.is_terminal:
        console.width = _UNLIMITED
    return console
