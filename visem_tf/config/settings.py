"""Frozen dataclasses that check themselves, name the nearest valid field and explain every field.

`visem_tf.config` declares the fields; this module knows nothing of what they mean.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import math
import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar, Literal

from visem_tf.errors import UserError

S = typing.TypeVar("S", bound="Settings")


def setting(
    default: Any,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    above: float | None = None,
    below: float | None = None,
) -> Any:
    """A dataclass field with a default and the range that its number must lie in.

    Args:
        default: the default, itself in the range.
        at_least: the smallest value.
        at_most: the largest value.
        above: a bound that is itself not allowed.
        below: a bound that is itself not allowed.
    """
    bounds = {"at least": at_least, "at most": at_most, "above": above, "below": below}
    return dataclasses.field(
        default=default, metadata={word: b for word, b in bounds.items() if b is not None}
    )


def nearest(name: str, names: Iterable[str]) -> str:
    """Returns a suggestion to append to a message, or "" when nothing comes close.

    Example:
        >>> nearest("batchsize", ["batch_size", "epochs"])
        '; did you mean batch_size?'
        >>> nearest("colour", ["batch_size", "epochs"])
        ''
    """
    matches = difflib.get_close_matches(name, list(names), n=1, cutoff=0.5)
    return f"; did you mean {matches[0]}?" if matches else ""


@dataclasses.dataclass(frozen=True)
class Settings:
    """The base of every configuration dataclass: checks types, ranges and choices when made.

    A field is a `bool`, `int`, `float`, `str`, a `Literal` of strings, a `tuple[str, ...]`, or
    another `Settings`. Its attribute docstring is its help.

    Raises:
        UserError: naming the dotted field, what it must be and what came.
    """

    section: ClassVar[str] = ""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = check(type(self), field.name, getattr(self, field.name))
            object.__setattr__(self, field.name, value)

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as nested plain dictionaries, lists and numbers."""
        plain: dict[str, Any] = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Settings):
                value = value.to_dict()
            plain[field.name] = list(value) if isinstance(value, tuple) else value
        return plain

    def updated(self: S, values: Mapping[str, Any]) -> S:
        """Returns a copy in which the given fields, nested or dotted, have other values.

        Args:
            values: e.g. `{"seed": 3, "align": {"margin": 0.5}, "align.epochs": 2}`.

        Raises:
            UserError: an unknown field, with the nearest valid one, or a bad value.
        """
        if not isinstance(values, Mapping):
            raise UserError(
                f"{self.section or 'a configuration'} must be an object of fields, not {values!r}"
            )
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        nested: dict[str, dict[str, Any]] = {}
        for key, value in values.items():
            name, _, rest = str(key).partition(".")
            dotted = f"{self.section}.{key}" if self.section else str(key)
            if name not in fields or (rest and not isinstance(fields[name], Settings)):
                raise UserError(f"unknown field {dotted}{nearest(dotted, self.names_for_hints())}")
            if not isinstance(fields[name], Settings):
                fields[name] = value
            elif rest or isinstance(value, Mapping):
                nested.setdefault(name, {}).update({rest: value} if rest else value)
            else:
                fields[name] = fields[name].updated(value)  # refuses it by name
        # All of a section at once, since its fields are checked against each other.
        for name, inner in nested.items():
            fields[name] = fields[name].updated(inner)
        return type(self)(**fields)

    def flat(self) -> Iterator[tuple[str, Any]]:
        """Yields every field as its dotted name and its value."""
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Settings):
                yield from value.flat()
            else:
                yield f"{self.section}.{field.name}" if self.section else field.name, value

    def names_for_hints(self) -> list[str]:
        """Returns the dotted names that an unknown field is compared with."""
        return [name for name, _ in self.flat()]


def field_types(cls: Any) -> dict[str, Any]:
    """Returns the type of each field of a settings class."""
    return _field_types(cls)


@functools.cache
def _field_types(cls: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def expectation(cls: type[Settings], name: str) -> str:
    """Returns in words what a field may hold, for messages and for `--help`.

    Example:
        >>> from visem_tf.config import AlignConfig
        >>> expectation(AlignConfig, "epochs")
        'an integer, at least 1'
    """
    hint = field_types(cls)[name]
    if typing.get_origin(hint) is Literal:
        return "one of " + ", ".join(typing.get_args(hint))
    words = {bool: "true or false", int: "an integer", float: "a number", str: "a text"}
    what = words.get(hint, "a list of names" if typing.get_origin(hint) is tuple else "a section")
    metadata = next(f.metadata for f in dataclasses.fields(cls) if f.name == name)
    limits = [
        f"{word} {bound:{'d' if isinstance(bound, int) else 'g'}}"
        for word, bound in metadata.items()
    ]
    return ", ".join([what, " and ".join(limits)]) if limits else what


def check(cls: type[Settings], name: str, value: Any) -> Any:
    """Returns a field's value in the field's own type, or says what is wrong with it.

    Args:
        cls: the settings class.
        name: a field of it.
        value: the value that came; an integer is taken for a float, a list for a tuple.

    Raises:
        UserError: naming the dotted field, what it must be, what came, and the nearest choice.
    """
    hint = field_types(cls)[name]
    metadata = next(f.metadata for f in dataclasses.fields(cls) if f.name == name)
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    hints = ""
    if typing.get_origin(hint) is Literal:
        fits = value in typing.get_args(hint)
        hints = nearest(str(value), typing.get_args(hint))
    elif typing.get_origin(hint) is tuple:
        fits = isinstance(value, (list, tuple)) and all(isinstance(v, str) for v in value)
        value = tuple(value) if fits else value
    elif hint is float:
        fits = is_number and math.isfinite(value)
        value = float(value) if fits else value
    elif hint is int:
        fits = isinstance(value, int) and is_number
    else:
        fits = isinstance(value, hint)
    if fits and metadata:
        fits = (
            value >= metadata.get("at least", value)
            and value <= metadata.get("at most", value)
            and ("above" not in metadata or value > metadata["above"])
            and ("below" not in metadata or value < metadata["below"])
        )
    if not fits:
        dotted = f"{cls.section}.{name}" if cls.section else name
        raise UserError(f"{dotted} must be {expectation(cls, name)}, not {value!r}{hints}")
    return value
