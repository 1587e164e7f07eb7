"""Tables and texts in a terminal: whatever a file name or a sentence holds is shown as text."""

import sys
from collections.abc import Sequence

import rich.console
import rich.table
import rich.text

_UNLIMITED = 10_000


def printable(text: str) -> str:
    r"""Returns a text that cannot steer a terminal, on one line.

    Args:
      text: Of anybody; control characters and undecodable bytes of file names show as `�`.

    Example:
      >>> printable("a\x1b[31m red\nball")
      'a�[31m red ball'
    """
    text = " ".join(text.split())
    return "".join(sign if sign.isprintable() else "�" for sign in text)


def print_line(text: str, *, indent: int = 0, style: str = "") -> None:
    """Prints a text, wrapped at the width of the terminal, where there is one.

    Args:
      text: Shown as it is, by `printable`.
      indent: Blanks before every line.
      style: One of Rich's styles, as "bold"; seen on terminals only.
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
    """Prints a table; as wide as it needs to be where the output is no terminal.

    Args:
      columns: Headings; one that ends with ">" is set to the right, without the sign.
      rows: A text a column each.
      indent: Blanks before every line.

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
    """The terminal as it is now, or a very wide page."""
    console = rich.console.Console(file=sys.stdout, markup=False, highlight=False, emoji=False)
    if not console.is_terminal:
        console.width = _UNLIMITED
    return console
