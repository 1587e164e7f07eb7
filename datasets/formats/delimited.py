"""Captions in delimited text: commas, semicolons, tabs or bars, with or without a header.

A header names the columns in any order (`visem_tf.datasets.formats.columns`). Without one, a line
is `name#k<TAB>caption`, as in `Flickr8k.token.txt`, or a name, perhaps a number, and a caption.
"""

import contextlib
import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from visem_tf.datasets.formats.columns import NO_NUMBER, CaptionRow, roles_of, say_columns
from visem_tf.datasets.formats.text import read_lines
from visem_tf.datasets.problems import Problems, add_listed
from visem_tf.errors import UserError
from visem_tf.images.find import ENDINGS
from visem_tf.runtime.storage import AnyPath

_DELIMITERS = {"\t": "<TAB>", "|": "|", ";": ";", ",": ","}
_MERGED_NUMBER = re.compile(r"\s*(?P<number>\d+)\s+(?P<caption>\S.*)")
_LINES_TO_TRY = 20

csv.field_size_limit(2**31 - 1)  # the default refuses captions above 131,072 characters


class _Layout(NamedTuple):
    """The columns of a table: names of `COLUMNS`, or "" for one that is not read."""

    delimiter: str
    columns: tuple[str, ...]
    has_header: bool = False
    in_name: bool = False  # the number stands in the name, as in `name#k`

    @property
    def form(self) -> str:
        name = "image" if self.has_header else "name#number" if self.in_name else "name"
        columns = [name if column == "image" else column or "…" for column in self.columns]
        return _DELIMITERS[self.delimiter].join(columns)


def read_delimited(path: AnyPath, problems: Problems) -> list[CaptionRow]:
    """Reads such a file.

    Args:
        path: Path of the file.
        problems: Receives what was wrong with the file, and which columns are not read.

    Raises:
        UserError: If the file cannot be read, or its columns are not recognised.
    """
    lines = read_lines(path, problems.notes)
    first = next((number for number, line in enumerate(lines) if line.strip()), 0)
    layout = _recognise(path, [line for line in lines if line.strip()][:_LINES_TO_TRY])
    if layout.has_header:
        say_columns(path, _fields(lines[first], layout.delimiter), layout.columns, problems)
    rows, malformed, unquoted = [], [], []
    first += layout.has_header
    for number, record in _records(lines[first:], layout):
        fields = _fields(record, layout.delimiter)
        if len(fields) > len(layout.columns):
            fields = _fields(record, layout.delimiter, keep_blanks=True)
            unquoted += [str(first + number)] * (layout.delimiter == ",")
        row = _row(fields, layout)
        if row is None:
            malformed.append(str(first + number))
        else:
            rows.append(row)
    message = f"{path.name}: skipped {len(malformed)} lines that are not {layout.form}"
    add_listed(problems.notes, message, malformed)
    message = f"{path.name}: kept commas without quotes in the captions of {len(unquoted)} lines"
    add_listed(problems.notes, message, unquoted)
    return rows


def _is_image_name(name: str) -> bool:
    """Returns whether a name ends like that of an image file, as in `a.JPG` and `a.jpg.1`."""
    path = PurePosixPath(re.sub(r"\.\d+$", "", name.strip()))
    return path.suffix.lower() in ENDINGS


def _recognise(path: AnyPath, lines: Sequence[str]) -> _Layout:
    """Returns the layout of a text, judging by its first lines that are not blank."""
    header = lines[0] if lines else ""
    for delimiter in _DELIMITERS:
        columns = roles_of(_fields(header, delimiter))
        if columns:
            return _Layout(delimiter, columns, has_header=True)
    layout = next((guess for guess in map(_without_header, lines) if guess), None)
    if layout is None and lines and all(map(_is_bare, lines)):
        layout = _Layout("\t", ("image", "caption"))  # names without endings
    if layout is None or _is_other_header(header, layout):
        raise UserError(
            f"{path} starts with the line {header[:200]!r}, which names no columns of images and "
            "captions; start it with a line such as image,caption, or write name<TAB>caption in "
            "each line"
        )
    return layout


def _without_header(line: str) -> _Layout | None:
    """Returns the layout of a line that starts with the name of an image; None for any other."""
    for delimiter in _DELIMITERS:
        name, *fields = _fields(line, delimiter)
        bare_name, number = _split_number(name)
        if fields and number != NO_NUMBER and (delimiter == "\t" or _is_image_name(bare_name)):
            return _Layout(delimiter, ("image", "caption"), in_name=True)
        if fields and _is_image_name(name):
            numbered = len(fields) > 1 and fields[0].strip().isdecimal()
            columns = ("image", "number", "caption") if numbered else ("image", "caption")
            return _Layout(delimiter, columns)
    return None


def _is_other_header(line: str, layout: _Layout) -> bool:
    """Returns whether the first line is a header whose names are not known."""
    fields = _fields(line, layout.delimiter)
    name = _split_number(fields[0])[0]
    may_be_name = _is_image_name(name) or any(map(str.isdecimal, name)) or not name.strip()
    return len(fields) >= len(layout.columns) and not may_be_name


def _split_number(name: str) -> tuple[str, int]:
    """Returns `name#k` as name and number.

    Example:
        >>> _split_number("a.jpg#3"), _split_number("a#1.jpg")
        (('a.jpg', 3), ('a#1.jpg', -1))
    """
    start, sign, end = name.rpartition("#")
    number = _as_number(end) if sign and start.strip() else NO_NUMBER
    return (name.strip(), number) if number == NO_NUMBER else (start.strip(), number)


def _as_number(text: str) -> int:
    text = text.strip()
    return int(text) if text.isdecimal() and len(text) < 10 else NO_NUMBER


def _is_bare(line: str) -> bool:
    """Returns whether a line may be `name<TAB>caption` with a name that has no ending."""
    name, tab, caption = line.partition("\t")
    return bool(name.strip() and tab and caption.strip()) and "\t" not in caption


def _fields(record: str, delimiter: str, *, keep_blanks: bool = False) -> list[str]:
    """Returns the fields of a record; one with a quotation mark out of place is cut as it is."""
    if '"' in record:
        with contextlib.suppress(csv.Error):
            reader = csv.reader(
                [record], delimiter=delimiter, skipinitialspace=not keep_blanks, strict=True
            )
            return next(reader)
    return record.split(delimiter)


def _records(lines: list[str], layout: _Layout) -> Iterator[tuple[int, str]]:
    """Yields the line number and the text of each record.

    A caption in quotes may span several lines. A quotation mark that is never closed must not take
    the lines after it, though: a line with the name of an image in its column starts a record.
    """
    place, delimiter = layout.columns.index("image"), layout.delimiter
    opening = re.compile(rf'(^|{re.escape(delimiter)})\s*"')

    def starts_record(line: str) -> bool:
        name = "".join(line.split(delimiter)[place : place + 1]).strip('" ')
        return _is_image_name(_split_number(name)[0])

    index = 0
    while index < len(lines):
        start, record = index, lines[index]
        index += 1
        if not record.strip():
            continue
        is_whole = place > layout.columns.index("caption") and starts_record(record)
        if record.count('"') % 2 and opening.search(record) and not is_whole:
            end = index
            while record.count('"') % 2 and end < len(lines) and not starts_record(lines[end]):
                record += "\n" + lines[end]
                end += 1
            if record.count('"') % 2:
                record = lines[start]
            else:
                index = end
        yield start + 1, record


def _row(fields: list[str], layout: _Layout) -> CaptionRow | None:
    """Returns the row of some fields; None if they do not fit the columns."""
    columns, place = layout.columns, layout.columns.index("caption")
    surplus = len(fields) - len(columns)
    if surplus > 0:  # delimiters in the caption
        end = place + surplus + 1
        fields = [*fields[:place], layout.delimiter.join(fields[place:end]), *fields[end:]]
    elif surplus == -1 and columns[:place][-1:] == ("number",) and len(fields) >= place:
        # Flickr30K's results.csv has a line without the delimiter between the two.
        merged = _MERGED_NUMBER.fullmatch(fields[place - 1])
        fields = [*fields[: place - 1], *merged.groups(), *fields[place:]] if merged else fields
    values = dict(zip(columns, fields, strict=False))
    name, number = values.get("image", "").strip(), _as_number(values.get("number", ""))
    bare_name, number_in_name = _split_number(name)
    if layout.in_name or _is_image_name(bare_name):
        name = bare_name
        number = number if number_in_name == NO_NUMBER else number_in_name
    if not name or "caption" not in values or (layout.in_name and number == NO_NUMBER):
        return None
    # A line end inside quotes is white space in the caption.
    caption = " ".join(values["caption"].split("\n")).strip()
    split = values.get("split", "").strip() or None
    return CaptionRow(name, number, caption, split)
