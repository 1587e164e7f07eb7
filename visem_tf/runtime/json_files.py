"""Writes JSON files, and reads those that people or accidents may have changed.

The expected content is a type that msgspec knows: `int`, `float`, `str`, `bool`, `Any`, a
`list[…]`, a `dict[str, …]`, a union of these, or a `TypedDict`, whose further entries are not
checked.
"""

import contextlib
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from visem_tf.errors import UserError
from visem_tf.runtime.files import write_atomically
from visem_tf.runtime.storage import AnyPath, PathLike, read_regular, reason_of


def parse_json(text: str | bytes, kind: Any = Any) -> Any:
    """Returns the content of a JSON text.

    Args:
        text: The text, or its bytes in UTF-8.
        kind: Type that the content must have.

    Raises:
        ValueError: The text is not UTF-8 or not JSON, is nested too deeply, or has another content.

    Example:
        >>> parse_json('{"epochs": 2}', dict[str, int])
        {'epochs': 2}
        >>> parse_json('{"epochs": [2, "3"]}', dict[str, list[int]])
        Traceback (most recent call last):
        ValueError: its entry [...][1] must be int, not str
    """
    try:
        content = json.loads(text)
        msgspec.convert(content, kind)  # what it returns lacks the further entries
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except UnicodeDecodeError as error:
        raise ValueError("it is not UTF-8") from error
    except UnicodeEncodeError as error:
        raise ValueError("the name of an entry is not Unicode text") from error
    except msgspec.ValidationError as error:
        raise ValueError(_in_words(str(error))) from error
    except ValueError as error:
        raise ValueError(f"it is not JSON: {error}") from error
    return content


def read_json(path: AnyPath, kind: Any, advice: str) -> Any:
    """Returns the content of a JSON file.

    Args:
        path: File on any storage, in UTF-8.
        kind: Type that the content must have.
        advice: What to do if it has another content, for the message.

    Raises:
        UserError: The file cannot be read, or has another content.
    """
    try:
        return parse_json(read_regular(path), kind)
    except OSError as error:
        raise UserError(f"cannot read {path} ({reason_of(error)}); {advice}") from error
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}); {advice}") from error


def write_json(path: PathLike, content: Any, indent: int | None = 1) -> None:
    """Writes a JSON file, whole or not at all; what is not Unicode text is escaped."""
    text = json.dumps(content, indent=indent, ensure_ascii=False) + "\n"
    write_atomically(path, text.encode("utf-8", "backslashreplace"))


@contextlib.contextmanager
def json_written_at_end(path: PathLike, results: Sequence[Any]) -> Iterator[None]:
    """Writes the results that a block appends to a list, also if an error or Ctrl-C ends it.

    A block that fails before its first result leaves an earlier file as it is.

    Args:
        path: Path of the file; empty to write none.
        results: List of results, to which the block appends.
    """
    try:
        yield
    except BaseException:
        if path and results:
            write_json(path, results)
        raise
    if path:
        write_json(path, results)


def _in_words(message: str) -> str:
    """The message of msgspec, e.g. "Expected `int`, got `str` - at `$.history[0]`"."""
    problem, _, place = message.replace("`", "").partition(" - at $")
    entry = f"its entry {place.lstrip('.')}" if place else "it"
    if match := re.fullmatch("Expected (.*), got (.*)", problem):
        expected, found = (re.sub("(object|array)", r"an \1", each) for each in match.groups())
        return f"{entry} must be {expected}, not {found}"
    if match := re.fullmatch("Object missing required field (.*)", problem):
        return f"{entry} has no {match[1]}"
    return f"{entry} is wrong: {problem}"
