"""The base class of the configuration: frozen dataclasses that check and explain their fields.

`visem_tf.config.run_config` and the modules of its sections declare the fields.
"""

import dataclasses
import difflib
import functools
import math
import operator
import typing
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, ClassVar, Literal

from visem_tf.errors import UserError

S = typing.TypeVar("S", bound="Settings")

_BOUNDS = {
    "at_least": operator.ge,
    "at_most": operator.le,
    "above": operator.gt,
    "below": operator.lt,
}
_SHOWN = 200
_NOUNS = {bool: "true or false", int: "an integer", float: "a number", str: "a string"}


def setting(default: Any, *, choices: Collection[str] = (), **bounds: float) -> Any:
    """Declares a dataclass field with a default and the values that it accepts.

    Args:
        default: Default value.
        choices: Accepted texts; empty accepts every value of the field's type.
        **bounds: Bounds of a number: `at_least`, `at_most`, `above` or `below`.
    """
    return dataclasses.field(default=default, metadata={"choices": choices, "bounds": bounds})


def nearest(name: str, names: Iterable[str]) -> str:
    """Returns a suggestion to append to a message, or "" if no name is similar.

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
    """The base of every configuration dataclass: checks its fields when it is made.

    A field is a `bool`, `int`, `float`, `str`, a `Literal` of strings, a `tuple[str, ...]`, or
    another `Settings`. Its attribute docstring is its help text.

    Raises:
        UserError: A field has an invalid value, or two fields contradict each other.
    """

    section: ClassVar[str] = ""

    def __post_init__(self) -> None:
        for name in field_types(type(self)):
            object.__setattr__(self, name, checked(type(self), name, getattr(self, name)))
        for conflict in self._conflicts():
            raise UserError(conflict)

    def _conflicts(self) -> Iterator[str]:
        """Yields a message for each combination of values that cannot be used."""
        yield from ()

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as nested plain dictionaries, lists and numbers."""

        def plain(fields: list[tuple[str, Any]]) -> dict[str, Any]:
            return {n: list(value) if isinstance(value, tuple) else value for n, value in fields}

        return dataclasses.asdict(self, dict_factory=plain)

    def updated(self: S, values: Mapping[str, Any]) -> S:
        """Returns a copy in which the given fields have other values.

        Args:
            values: Values by field, nested or dotted, e.g.
                `{"seed": 3, "align": {"margin": 0.5}, "align.epochs": 2}`.

        Raises:
            UserError: A field is unknown, or a value is invalid.
        """
        fields = {name: getattr(self, name) for name in field_types(type(self))}
        sections: dict[str, dict[str, Any]] = {}
        for key, value in values.items():
            name, _, rest = str(key).partition(".")
            is_section = isinstance(fields.get(name), Settings)
            if name not in fields or (rest and not is_section):
                dotted = dotted_name(type(self), str(key))
                hint = nearest(dotted, [known for known, _ in self.flat()])
                raise UserError(f"unknown field {dotted}{hint}")
            if not is_section:
                fields[name] = value
            elif rest:
                sections.setdefault(name, {})[rest] = value
            elif isinstance(value, Mapping):
                sections.setdefault(name, {}).update(value)
            else:
                raise UserError(f"{name} must be an object of fields, not {_shown(value)}")
        # All fields of a section at once, because they are checked against each other.
        for name, inner in sections.items():
            fields[name] = fields[name].updated(inner)
        return type(self)(**fields)

    def flat(self) -> Iterator[tuple[str, Any]]:
        """Yields every field as its dotted name and its value."""
        for name in field_types(type(self)):
            value = getattr(self, name)
            if isinstance(value, Settings):
                yield from value.flat()
            else:
                yield dotted_name(type(self), name), value


def field_types(cls: Any) -> dict[str, Any]:
    """Returns the type of each field of a settings class."""
    return _field_types(cls)


@functools.cache
def _field_types(cls: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls)}


def dotted_name(cls: type[Settings], name: str) -> str:
    """Returns the name of a field as users write it.

    Example:
        >>> from visem_tf.config import AlignConfig
        >>> dotted_name(AlignConfig, "epochs")
        'align.epochs'
    """
    return f"{cls.section}.{name}" if cls.section else name


def _limits(cls: type[Settings], name: str) -> tuple[Collection[str], Mapping[str, float]]:
    """Returns the choices and the bounds of a field; either may be empty."""
    hint = field_types(cls)[name]
    if typing.get_origin(hint) is Literal:
        return typing.get_args(hint), {}
    metadata = cls.__dataclass_fields__[name].metadata
    return metadata.get("choices", ()), metadata.get("bounds", {})


def expectation(cls: type[Settings], name: str) -> str:
    """Returns a description of the values that a field accepts, for messages and `--help`.

    Example:
        >>> from visem_tf.config import AlignConfig
        >>> expectation(AlignConfig, "epochs")
        'an integer, at least 1 and at most 100000'
    """
    choices, bounds = _limits(cls, name)
    if choices:
        return "one of " + ", ".join(choices)
    noun = _NOUNS.get(field_types(cls)[name], "a list of names")
    limits = [f"{word.replace('_', ' ')} {bound:.10g}" for word, bound in bounds.items()]
    return ", ".join([noun, " and ".join(limits)]) if limits else noun


def _shown(value: Any) -> str:
    """Returns a value as it is written in messages; a long one is cut."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def checked(cls: type[Settings], name: str, value: Any) -> Any:
    """Returns a field's value in the field's own type.

    Args:
        cls: Settings class.
        name: Field of the class.
        value: Any value; an integer is accepted as a float, a list as a tuple.

    Raises:
        UserError: The value is invalid. The message names the dotted field, what it accepts, the
            value, and the nearest choice.
    """
    hint = field_types(cls)[name]
    choices, bounds = _limits(cls, name)
    if typing.get_origin(hint) is tuple:
        fits = isinstance(value, (list, tuple)) and all(isinstance(v, str) for v in value)
    elif choices:
        fits = value in choices
    elif hint in (int, float):
        kinds = (int,) if hint is int else (int, float)
        fits = isinstance(value, kinds) and not isinstance(value, bool)
        fits = fits and abs(value) < math.inf  # also of an integer that no float can be
        fits = fits and all(_BOUNDS[word](value, bound) for word, bound in bounds.items())
    else:
        fits = isinstance(value, hint)
    if not fits:
        raise UserError(
            f"{dotted_name(cls, name)} must be {expectation(cls, name)}, not {_shown(value)}"
            f"{nearest(str(value), choices)}"
        )
    if hint is float:
        return float(value)
    return tuple(value) if isinstance(value, list) else value
