"""The two forms of text files with captions: `name.jpg#k<TAB>caption`, and CSV."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator

from visem_tf.datasets.formats.text import read_lines
from visem_tf.datasets.problems import listed
from visem_tf.errors import UserError
from visem_tf.runtime.storage import AnyPath

_NUMBERED = re.compile(r"(?P<name>.+)#(?P<number>\d+)\s*")
_CSV_START = re.compile(r'[^,"]+\.(jpe?g|png|gif|bmp|webp|tiff?)(\.\d+)?\s*,', re.IGNORECASE)


def read_token_file(path: AnyPath, notes: list[str]) -> dict[str, list[str]]:
    """Reads a file like `Flickr8k.token.txt`: `name.jpg#k<TAB>caption` in each line.

    Args:
        path: the file.
        notes: receives what was wrong with it.

    Returns:
        The captions of each picture name, ordered by k.
    """
    numbered: dict[str, list[tuple[int, str]]] = {}
    malformed, repeated, seen = [], [], set()
    for line_number, line in enumerate(read_lines(path, notes), start=1):
        if not line.strip():
            continue
        identifier, tab, caption = line.partition("\t")
        match = _NUMBERED.fullmatch(identifier.strip())
        if not tab or not match:
            malformed.append(str(line_number))
            continue
        key = (match["name"], int(match["number"]))
        if key in seen:
            repeated.append(identifier.strip())
        seen.add(key)
        numbered.setdefault(key[0], []).append((key[1], caption.strip()))
    _note_skipped(notes, path, "name#number<TAB>caption", malformed)
    if repeated:
        notes.append(f"{path.name}: kept captions that share a number: {listed(repeated)}")
    return {
        name: [caption for _, caption in sorted(captions, key=lambda pair: pair[0])]
        for name, captions in numbered.items()
    }


def read_caption_file(path: AnyPath, notes: list[str]) -> dict[str, list[str]]:
    """Reads captions in one of three forms, told by the first line.

    The header `image,caption` starts CSV; otherwise each line is `name.jpg#k<TAB>caption` or
    `name.jpg<TAB>caption`.

    Args:
        path: the file.
        notes: receives what was wrong with it.

    Returns:
        The captions of each picture name.

    Raises:
        UserError: the file has none of these forms.
    """
    first = next((line for line in read_lines(path, []) if line.strip()), "")
    if _is_header(next(csv.reader([first]), [])):
        return read_csv_file(path, notes)
    name, tab, _ = first.partition("\t")
    if tab and _NUMBERED.fullmatch(name.strip()):
        return read_token_file(path, notes)
    if not tab:
        raise UserError(
            f"{path} must start with the line image,caption, or have a tab between name and "
            "caption in each line; mend or replace it"
        )
    captions: dict[str, list[str]] = {}
    malformed = []
    for number, line in enumerate(read_lines(path, notes), start=1):
        name, tab, caption = line.partition("\t")
        if not line.strip() or (number == 1 and _is_header([name, caption])):
            continue
        if not tab or not name.strip():
            malformed.append(str(number))
            continue
        captions.setdefault(name.strip(), []).append(caption.strip())
    _note_skipped(notes, path, "name<TAB>caption", malformed)
    return captions


def read_csv_file(path: AnyPath, notes: list[str]) -> dict[str, list[str]]:
    """Reads `captions.txt`: CSV with the header `image,caption`.

    Args:
        path: the file.
        notes: receives what was wrong with it.

    Returns:
        The captions of each picture name, in the order of the file.

    Raises:
        UserError: the header is another one.
    """
    rows = _csv_rows(read_lines(path, notes))
    header = next(rows, (0, []))[1]
    if not _is_header(header):
        raise UserError(f"{path} must start with the line image,caption; mend or replace it")
    captions: dict[str, list[str]] = {}
    malformed, unquoted = [], []
    for line_number, row in rows:
        name = row[0].strip()
        if len(row) < 2 or not name:
            malformed.append(str(line_number))
            continue
        if len(row) > 2:
            unquoted.append(str(line_number))
        # A line end inside quotes is white space in the caption.
        captions.setdefault(name, []).append(" ".join(",".join(row[1:]).split("\n")).strip())
    _note_skipped(notes, path, "image,caption", malformed)
    if unquoted:
        notes.append(
            f"{path.name}: {len(unquoted)} captions hold commas without quotes and were kept "
            f"whole: line {listed(unquoted)}"
        )
    return captions


def read_piped_file(path: AnyPath, notes: list[str]) -> dict[str, list[str]]:
    """Reads a file like Flickr30K's `results.csv`: `image_name| comment_number| comment`.

    Args:
        path: the file.
        notes: receives what was wrong with it.

    Returns:
        The captions of each picture name, ordered by number.

    Raises:
        UserError: the header is another one.
    """
    lines = read_lines(path, notes)
    header = [field.strip() for field in lines[0].split("|")] if lines else []
    if header != ["image_name", "comment_number", "comment"]:
        raise UserError(
            f"{path} must start with the line image_name| comment_number| comment; mend or "
            "replace it"
        )
    numbered: dict[str, list[tuple[int, str]]] = {}
    malformed = []
    for line_number, line in enumerate(lines[1:], start=2):
        name, _, rest = line.partition("|")
        number, bar, caption = rest.partition("|")
        if not line.strip():
            continue
        if not bar or not name.strip() or not number.strip().isdecimal():
            malformed.append(str(line_number))
            continue
        numbered.setdefault(name.strip(), []).append((int(number), caption.strip()))
    _note_skipped(notes, path, "name|number|caption", malformed)
    return {
        name: [caption for _, caption in sorted(captions, key=lambda pair: pair[0])]
        for name, captions in numbered.items()
    }


def _note_skipped(notes: list[str], path: AnyPath, form: str, lines: list[str]) -> None:
    if lines:
        notes.append(
            f"{path.name}: skipped {len(lines)} lines that are not {form}: line {listed(lines)}"
        )


def _is_header(fields: list[str]) -> bool:
    return [field.strip().lower() for field in fields] == ["image", "caption"]


def _csv_rows(lines: list[str]) -> Iterator[tuple[int, list[str]]]:
    """Yields line number and fields of each record; blank lines are left out.

    A caption in quotes may go over several lines. A quotation mark that nobody closed must not
    swallow the lines after it, though: a line that starts with the name of a picture starts a
    record, and the broken one is cut at its first comma, as it stands.
    """
    index = 0
    while index < len(lines):
        start, record = index, lines[index]
        index += 1
        if not record.strip():
            continue
        while record.count('"') % 2 and index < len(lines):
            if _CSV_START.match(lines[index]):
                break
            record += "\n" + lines[index]
            index += 1
        if record.count('"') % 2:
            index = start + 1
            name, _, caption = lines[start].partition(",")
            yield start + 1, [name, caption]
        else:
            row = next(csv.reader([record], skipinitialspace=True))
            # Commas without quotes: nothing of the caption is to be lost, blanks neither.
            yield start + 1, row if len(row) <= 2 else next(csv.reader([record]))
