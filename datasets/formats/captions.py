"""Text files of captions: CSV, a tab or bars between name and caption, with and without numbers."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from visem_tf.datasets.formats.text import read_lines
from visem_tf.datasets.problems import add_listed
from visem_tf.datasets.records import Record
from visem_tf.errors import UserError
from visem_tf.runtime.storage import AnyPath

TOKEN_FORM = "name#number<TAB>caption"
BAR_FORM = "name|number|caption"
TAB_FORM = "name<TAB>caption"
NUMBERED_TAB_FORM = "name<TAB>number<TAB>caption"
_NAMED = r"(?P<name>[^\t]*[^\t\s][^\t]*)"
_FORMS = {
    TOKEN_FORM: re.compile(rf"{_NAMED}#(?P<number>\d+)\s*\t(?P<caption>.*)"),
    BAR_FORM: re.compile(r"(?P<name>[^|]*[^|\s][^|]*)\|\s*(?P<number>\d+)\s*\|(?P<caption>.*)"),
    NUMBERED_TAB_FORM: re.compile(rf"{_NAMED}\t\s*(?P<number>\d+)\s*\t(?P<caption>.*)"),
    TAB_FORM: re.compile(rf"{_NAMED}\t(?P<caption>.*)"),
}
_BAR_HEADER = ["image_name", "comment_number", "comment"]
_CSV_START = re.compile(r'[^,"]+\.(jpe?g|png|gif|bmp|webp|tiff?)(\.\d+)?\s*,', re.IGNORECASE)


def read_caption_file(path: AnyPath, notes: list[str]) -> dict[str, list[str]]:
    """Reads captions in one of five forms, recognized by the first line.

    The header `image,caption` starts CSV, and `image_name| comment_number| comment` starts lines
    with bars, as in Flickr30K's `results.csv`. Otherwise each line is `name.jpg#k<TAB>caption`, as
    in `Flickr8k.token.txt`, `name.jpg<TAB>k<TAB>caption`, or `name.jpg<TAB>caption`.

    Args:
        path: Path of the file.
        notes: List that receives what was wrong with the file.

    Returns:
        Captions of each file name: in the order of their numbers, or else in that of the file.

    Raises:
        UserError: If the file has none of these forms.
    """
    lines = read_lines(path, notes)
    first_number, first = next(_numbered(lines), (0, ""))
    if _is_csv_header(next(csv.reader([first]), [])):
        return _read_csv(path, lines, notes)
    has_bars = [field.strip() for field in first.split("|")] == _BAR_HEADER
    has_header = has_bars or _is_csv_header(first.split("\t"))
    body = [line for line in _numbered(lines) if line[0] > first_number or not has_header]
    if has_bars:
        return _read_form(path, body, BAR_FORM, notes)
    for form in (TOKEN_FORM, NUMBERED_TAB_FORM, TAB_FORM):
        if _FORMS[form].fullmatch(first):
            return _read_form(path, body, form, notes)
    raise UserError(
        f"{path} must start with the line image,caption or image_name| comment_number| comment, or "
        "have a tab between name and caption in each line; fix or replace it"
    )


def read_token_file(path: AnyPath, notes: list[str]) -> dict[str, list[str]]:
    """Reads a file like `Flickr8k.token.txt`, which has `name.jpg#k<TAB>caption` in each line.

    Args:
        path: Path of the file.
        notes: List that receives what was wrong with the file.

    Returns:
        Captions of each file name, ordered by k.
    """
    return _read_form(path, _numbered(read_lines(path, notes)), TOKEN_FORM, notes)


def caption_records(captions: Mapping[str, Sequence[str]], images: AnyPath) -> list[Record]:
    """Returns a record for each file name of a file of captions.

    Args:
        captions: Captions of each file name.
        images: Folder of the images.
    """
    return [
        Record(name, images / name, sentences, file_name=name)
        for name, sentences in captions.items()
    ]


def _read_form(
    path: AnyPath, lines: Iterable[tuple[int, str]], form: str, notes: list[str]
) -> dict[str, list[str]]:
    found: dict[str, list[tuple[int, str]]] = {}
    malformed, repeated, seen = [], [], set()
    for line_number, line in lines:
        match = _FORMS[form].fullmatch(line)
        if match:
            name, number = match["name"].strip(), match.groupdict().get("number")
            if number and (name, number) in seen:
                repeated.append(f"{name}#{number}")
            seen.add((name, number))
            found.setdefault(name, []).append((int(number or 0), match["caption"].strip()))
        else:
            malformed.append(str(line_number))
    message = f"{path.name}: skipped {len(malformed)} lines that are not {form}"
    add_listed(notes, message, malformed)
    add_listed(notes, f"{path.name}: kept captions that share a number", repeated)
    return {
        name: [caption for _, caption in sorted(captions, key=lambda pair: pair[0])]
        for name, captions in found.items()
    }


def _read_csv(path: AnyPath, lines: list[str], notes: list[str]) -> dict[str, list[str]]:
    captions: dict[str, list[str]] = {}
    malformed, unquoted = [], []
    rows = _csv_rows(lines)
    next(rows)  # the header
    for line_number, (name, *parts) in rows:
        if not parts or not name.strip():
            malformed.append(str(line_number))
            continue
        if len(parts) > 1:
            unquoted.append(str(line_number))
        # A line end inside quotes is white space in the caption.
        captions.setdefault(name.strip(), []).append(",".join(parts).replace("\n", " ").strip())
    message = f"{path.name}: skipped {len(malformed)} lines that are not image,caption"
    add_listed(notes, message, malformed)
    message = f"{path.name}: kept commas without quotes in the captions of {len(unquoted)} lines"
    add_listed(notes, message, unquoted)
    return captions


def _csv_rows(lines: list[str]) -> Iterator[tuple[int, list[str]]]:
    """Yields line number and fields of each CSV record; blank lines are left out.

    A caption in quotes may span several lines. A quotation mark that is never closed must not take
    the lines after it, though: a line that starts with the name of an image starts a record, and
    the broken record is cut at its first comma, as it is.
    """
    index = 0
    while index < len(lines):
        start, record = index, lines[index]
        index += 1
        if not record.strip():
            continue
        while record.count('"') % 2 and index < len(lines) and not _CSV_START.match(lines[index]):
            record += "\n" + lines[index]
            index += 1
        if record.count('"') % 2:
            index = start + 1
            name, _, caption = lines[start].partition(",")
            yield start + 1, [name, caption]
        else:
            row = next(csv.reader([record], skipinitialspace=True))
            # Commas without quotes: keep the whole caption, with its blanks.
            yield start + 1, row if len(row) <= 2 else next(csv.reader([record]))


def _is_csv_header(fields: list[str]) -> bool:
    return [field.strip().lower() for field in fields] == ["image", "caption"]


def _numbered(lines: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Yields the lines that are not blank, with their numbers from 1."""
    return ((number, line) for number, line in enumerate(lines, start=1) if line.strip())
