"""Reads JSON files that people or accidents may have changed, and checks what they contain.

The expected content is a type: `int`, `float`, `str`, `bool`, `Any`, a `list[…]`, a `dict[str, …]`,
a union of these, or a `TypedDict`, whose further entries are not checked.
"""

from __future__ import annotations

import json
import types
import typing
from typing import Any

from visem_tf.errors import UserError
from visem_tf.runtime.storage import AnyPath, read_regular, reason_of


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
        >>> parse_json('{"epochs": "2"}', dict[str, int])
        Traceback (most recent call last):
        ValueError: its entry epochs must be int, not '2'
    """
    try:
        content = json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except UnicodeDecodeError as error:
        raise ValueError("it is not UTF-8") from error
    except ValueError as error:
        raise ValueError(f"it is not JSON: {error}") from error
    if mismatch := _mismatch(content, kind, ""):
        raise ValueError(mismatch)
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


def _mismatch(value: Any, kind: Any, name: str) -> str:
    """Returns how a value differs from its expected type; empty if it does not."""
    origin, inner = typing.get_origin(kind) or kind, typing.get_args(kind)
    if kind is Any:
        return ""
    if origin in (typing.Union, types.UnionType):
        if any(not _mismatch(value, each, name) for each in inner):
            return ""
    elif typing.is_typeddict(kind):
        if isinstance(value, dict):
            return _mismatch_of_fields(value, kind, name)
    elif isinstance(value, (int, float) if kind is float else origin) and (
        kind is bool or not isinstance(value, bool)
    ):
        return _mismatch_of_items(value, inner, name)
    what = f"its entry {name}" if name else "it"
    noun = "an object" if typing.is_typeddict(kind) else getattr(kind, "__name__", str(kind))
    return f"{what} must be {noun}, not {repr(value)[:40]}"


def _mismatch_of_fields(value: dict[str, Any], kind: Any, name: str) -> str:
    for field, hint in typing.get_type_hints(kind).items():
        inner = f"{name}.{field}" if name else field
        if field in value:
            if found := _mismatch(value[field], hint, inner):
                return found
        elif field in kind.__required_keys__:
            return f"its entry {inner} is missing"
    return ""


def _mismatch_of_items(value: Any, inner: tuple[Any, ...], name: str) -> str:
    if not inner:
        return ""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        if found := _mismatch(item, inner[-1], f"{name}.{key}" if name else str(key)):
            return found
    return ""
