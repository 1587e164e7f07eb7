"""Text files as they arrive: any line end, a byte order mark, a stray Latin-1 byte; and JSON."""

from __future__ import annotations

import codecs
import json
from typing import Any

from visem_tf.datasets.problems import listed
from visem_tf.errors import UserError
from visem_tf.runtime.storage import AnyPath, reason_of


def read_lines(path: AnyPath, notes: list[str]) -> list[str]:
    r"""Returns the lines of a text file without their line ends.

    UTF-8 with or without a byte order mark, or UTF-16 with one. A line that is no UTF-8 is read as
    Latin-1. Only CR, LF and CRLF end a line: the others that `str.splitlines` knows, such as
    U+2028 or a form feed, occur inside of captions.

    Args:
        path: the file.
        notes: receives a line when Latin-1 had to be assumed.

    Raises:
        UserError: the file cannot be read, or is no text.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> path = Path(tempfile.mkdtemp()) / "names.txt"
        >>> _ = path.write_bytes(b"\xef\xbb\xbfone\r\nd\xe9j\xe0 vu\n")
        >>> notes = []
        >>> read_lines(path, notes), notes
        (['one', 'déjà vu'], ['names.txt: 1 line is no UTF-8 and was read as Latin-1: line 2'])
    """
    data = _utf_8_bytes(path)
    lines, as_latin_1 = [], []
    raw_lines = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    for number, line in enumerate(raw_lines, start=1):
        try:
            lines.append(line.decode("utf-8"))
        except UnicodeDecodeError:
            lines.append(line.decode("latin-1"))
            as_latin_1.append(str(number))
    if as_latin_1:
        count = len(as_latin_1)
        notes.append(
            f"{path.name}: {count} line{' is' if count == 1 else 's are'} no UTF-8 and "
            f"{'was' if count == 1 else 'were'} read as Latin-1: line {listed(as_latin_1)}"
        )
    if lines and not lines[-1]:
        lines.pop()  # what follows the last line end
    return lines


def read_json(path: AnyPath, notes: list[str]) -> Any:
    r"""Returns what a JSON file holds: UTF-8, or UTF-16 with a byte order mark, or else Latin-1.

    Args:
        path: the file.
        notes: receives a line when Latin-1 had to be assumed.

    Raises:
        UserError: the file cannot be read, or is no JSON; says where it breaks.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> path = Path(tempfile.mkdtemp()) / "captions.json"
        >>> _ = path.write_bytes(b'\xef\xbb\xbf{"images": []}')
        >>> read_json(path, [])
        {'images': []}
    """
    data = _utf_8_bytes(path)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
        notes.append(f"{path.name}: the file is no UTF-8 and was read as Latin-1")
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path} is broken JSON at line {error.lineno}, column {error.colno} ({error.msg}); "
            "mend or replace it"
        ) from error
    except RecursionError as error:
        raise UserError(f"{path} is nested too deeply; mend or replace it") from error


def _utf_8_bytes(path: AnyPath) -> bytes:
    """Returns the bytes of a file, without its byte order mark; UTF-16 is brought to UTF-8."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path} ({reason_of(error)}); mend or replace it") from error
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        try:
            data = data.decode("utf-16").encode("utf-8")
        except UnicodeError as error:
            raise UserError(f"{path} is broken UTF-16; save it as UTF-8") from error
    return data.removeprefix(codecs.BOM_UTF8)
