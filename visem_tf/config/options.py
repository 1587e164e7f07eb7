"""Options of commands: declared in classes, explained by docstrings, and read by argparse.

The fields of the configuration are options of every command. A command declares its own options
as attributes of a class, whose docstrings are their help texts:

    class Options:
        images = option("IMAGE", nargs="+")
        '''An image, or a folder of images.'''
        top = option("N", 6, type=int)
        '''Regions to show of each image.'''
"""

import argparse
import functools
import sys
import typing
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import docstring_parser

from visem_tf.config.presets import preset
from visem_tf.config.run_config import Config
from visem_tf.config.settings import Settings, dotted_name, expectation, field_types, nearest
from visem_tf.errors import UserError


class Parser(argparse.ArgumentParser):
    """A parser whose mistakes are `UserError`s that name the nearest valid option."""

    def error(self, message: str) -> NoReturn:
        """Raises a `UserError` with the message of argparse."""
        raise UserError(f"{message}; see --help")

    def print_help(self, file: Any = None) -> None:
        """Prints the help; argparse would ignore that standard output is full."""
        (file or sys.stdout).write(self.format_help())

    def parse(self, arguments: Sequence[str]) -> argparse.Namespace:
        """Returns the options of a command line; it has only those fields that are given."""
        options, unknown = self.parse_known_args(spelled_as_declared(arguments))
        if unknown:
            name = unknown[0].split("=")[0]
            what = "option" if name.startswith("-") else "argument"
            known = [option for action in self._actions for option in action.option_strings]
            hint = (what == "option" and nearest(name, known)) or "; --help lists them all"
            raise UserError(f"unknown {what} {name}{hint}")
        return options


def option(metavar: str | None = None, default: Any = "", **keywords: Any) -> Any:
    """Declares an option of a command, or an argument if `nargs` is given.

    Args:
        metavar: Name of the value in the help text; None for the name of the option.
        default: Default value.
        **keywords: Further keywords of `argparse.ArgumentParser.add_argument`.
    """
    if metavar:
        keywords["metavar"] = metavar
    return {"default": default, **keywords}


def short_for(field: str) -> Any:
    """Declares an option that is another name of a field's option.

    Args:
        field: Dotted name of the field, as in "generate.beam_size".
    """
    section, _, name = field.partition(".")
    kind = field_types(field_types(Config)[section])[name]
    return option(
        name.upper(), argparse.SUPPRESS, dest=field, type=functools.partial(_value_of, kind)
    )


class CommonOptions:
    """Options of all commands that are not fields of the configuration."""

    config = option("FILE")
    """A JSON file that sets all or some fields."""
    debug = option(default=False, action="store_true")
    """Show the traceback of an error."""


def make_parser(
    command: str, description: str, options: type | None = None, *, arguments: str = ""
) -> Parser:
    """Returns a parser with the options of a command and those that every command takes.

    Args:
        command: Name after `python -m visem_tf.`.
        description: Description of the command for `--help`.
        options: Class that declares the command's own options.
        arguments: Further arguments for the usage line, as in "IMAGE…".
    """
    parser = Parser(
        prog=f"python -m visem_tf.{command}",
        usage=f"python -m visem_tf.{command} [options] {arguments}".rstrip(),
        description=description,
        allow_abbrev=False,
        epilog="Values on the command line override --config, which overrides --preset. Without "
        "--preset, the config.json of an existing run directory takes its place, or that of "
        "--init-from.",
    )
    if options is not None:
        add_options(parser, options)
    common = parser.add_argument_group("common options")
    add_options(common, CommonOptions)
    defaults = dict(preset("default").flat())
    _add_fields(common, Config, defaults)
    for cls in field_types(Config).values():
        if _is_section(cls):
            title = (cls.__doc__ or "").split("\n")[0]
            _add_fields(parser.add_argument_group(f"--{cls.section}.*", title), cls, defaults)
    return parser


def add_options(parser: Any, options: type) -> None:
    """Adds the options that a class declares to a parser, or to a group of its options."""
    for name, help_text in _help_texts(options).items():
        keywords = getattr(options, name)
        flag = name if "nargs" in keywords else f"--{name.replace('_', '-')}"
        is_required = keywords.get("required") or keywords.get("nargs") == "+"
        if "(default:" not in help_text and not is_required:
            help_text += f" (default: {_shown_default(keywords)})"
        parser.add_argument(flag, help=help_text, **keywords)


def _shown_default(keywords: Mapping[str, Any]) -> str:
    """The default of an option that a class declares, as the help shows it."""
    default = keywords["default"]
    if default == argparse.SUPPRESS:
        default = dict(preset("default").flat())[keywords["dest"]]
    return str(default).lower() if default or default is False else "none"


def _add_fields(group: Any, cls: Any, defaults: Mapping[str, Any]) -> None:
    """Adds an option for each field of a settings class, explained by the field's docstring."""
    help_texts = _help_texts(cls)
    for name, kind in field_types(cls).items():
        if _is_section(kind):
            continue
        option = f"--{dotted_name(cls, name) if cls.section else name.replace('_', '-')}"
        help_text = help_texts[name]
        if cls is Config and kind is bool:
            group.add_argument(
                option,
                action="store_true",
                default=argparse.SUPPRESS,
                help=f"{help_text} (default: false)",
            )
            continue
        value = defaults[dotted_name(cls, name)]
        default = ",".join(value) if isinstance(value, tuple) else str(value).lower()
        accepted = expectation(cls, name)
        shown = "" if accepted in ("a string", "a list of names") else f"{accepted}; "
        group.add_argument(
            option,
            dest=dotted_name(cls, name),
            type=functools.partial(_value_of, kind),
            default=argparse.SUPPRESS,
            metavar=name.upper(),
            help=f"{help_text} ({shown}default: {default or 'empty'})",
        )


@functools.cache
def _help_texts(cls: Any) -> dict[str, str]:
    """Returns the docstring of each attribute of a class and its bases, as argparse takes it."""
    classes = [base for base in reversed(cls.__mro__) if base is not object]
    documented = [p for base in classes for p in docstring_parser.parse_from_object(base).params]
    texts = {p.arg_name: " ".join((p.description or "").split()) for p in documented}
    return {name: text.rstrip(".").replace("%", "%%") for name, text in texts.items()}


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Settings)


def _value_of(kind: Any, text: str) -> Any:
    """Returns an option's text in a field's type, or unchanged for `Config` to refuse it."""
    if typing.get_origin(kind) is tuple:
        return split_names(text)
    if kind is bool:
        return {"true": True, "false": False}.get(text.lower(), text)
    try:
        return kind(text) if kind in (int, float) else text
    except ValueError:
        return text


def split_names(text: str) -> list[str]:
    """Returns names that are separated by commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


def spelled_as_declared(arguments: Sequence[str]) -> list[str]:
    """Returns the arguments with `-` and `_` in option names as the parser declares them.

    Example:
        >>> spelled_as_declared(["--align.batch-size=5", "--data_dir", "my_data"])
        ['--align.batch_size=5', '--data-dir', 'my_data']
    """
    spelled: list[str] = []
    for position, argument in enumerate(arguments):
        if argument == "--":
            return spelled + list(arguments[position:])
        if argument.startswith("--"):
            name, equals, value = argument[2:].partition("=")
            name = name.replace("-", "_") if "." in name else name.replace("_", "-")
            argument = f"--{name}{equals}{value}"
        spelled.append(argument)
    return spelled
