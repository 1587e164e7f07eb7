"""Text and JSON files of users: any line end, a byte order mark, single bytes of Latin-1."""

import codecs
import json
from typing import Any

from visem_tf.datasets.problems import add_listed
from visem_tf.errors import UserError
from visem_tf.runtime.storage import AnyPath, read_regular, reading


def read_lines(path: AnyPath, notes: list[str]) -> list[str]:
    r"""Returns the lines of a text file without their line ends.

    The file is UTF-8 with or without a byte order mark, or UTF-16 with one. A line that is not
    UTF-8 is read as Latin-1. Only CR, LF and CRLF end a line: the other characters at which
    `str.splitlines` splits, such as U+2028 or a form feed, occur within captions.

    Args:
        path: Path of the file.
        notes: List that receives the lines that were read as Latin-1.

    Raises:
        UserError: If the file cannot be read.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> path = Path(tempfile.mkdtemp()) / "names.txt"
        >>> _ = path.write_bytes(b"\xef\xbb\xbfone\r\nd\xe9j\xe0 vu\n")
        >>> notes = []
        >>> read_lines(path, notes), notes
        (['one', 'déjà vu'], ['names.txt: lines that are not UTF-8 were read as Latin-1: 2'])
    """
    return split_lines(_utf_8_bytes(path), path.name, notes)


def split_lines(data: bytes, name: str, notes: list[str]) -> list[str]:
    """Returns the lines of a text file that was read already; see `read_lines`.

    Args:
        data: Content of the file, without a byte order mark.
        name: Name of the file, for the notes.
        notes: List that receives the lines that were read as Latin-1.
    """
    lines, as_latin_1 = [], []
    raw_lines = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    for number, line in enumerate(raw_lines, start=1):
        try:
            lines.append(line.decode("utf-8"))
        except UnicodeDecodeError:
            lines.append(line.decode("latin-1"))
            as_latin_1.append(str(number))
    message = f"{name}: lines that are not UTF-8 were read as Latin-1"
    add_listed(notes, message, as_latin_1)
    if not lines[-1]:
        lines.pop()  # what follows the last line end
    return lines


def read_json(path: AnyPath, notes: list[str]) -> Any:
    r"""Returns the content of a JSON file: UTF-8, UTF-16 with a byte order mark, or Latin-1.

    Args:
        path: Path of the file.
        notes: List that receives a line if the file was read as Latin-1.

    Raises:
        UserError: If the file cannot be read, or is not JSON.

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
        notes.append(f"{path.name}: the file is not UTF-8 and was read as Latin-1")
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path} is broken JSON at line {error.lineno}, column {error.colno} ({error.msg}); "
            "fix or replace it"
        ) from error
    except ValueError as error:  # a number of thousands of digits
        raise UserError(f"{path} cannot be read ({error}); fix or replace it") from error
    except RecursionError as error:
        raise UserError(f"{path} is nested too deeply; fix or replace it") from error


def _utf_8_bytes(path: AnyPath) -> bytes:
    """Returns the bytes of a file in UTF-8, without its byte order mark."""
    with reading(path, "fix or replace it"):
        data = read_regular(path)
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        try:
            data = data.decode("utf-16").encode("utf-8")
        except UnicodeError as error:
            raise UserError(f"{path} is broken UTF-16; save it as UTF-8") from error
    return data.removeprefix(codecs.BOM_UTF8)
