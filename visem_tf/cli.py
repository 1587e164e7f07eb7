"""What all commands share: their options, the order of precedence, and how mistakes are told.

A command is a module with a `main` that parses first and imports TensorFlow afterwards, so that
`--help` and mistakes come at once:

    def main(argv: Sequence[str] | None = None) -> None:
        parser = make_parser("fit", "Trains all models.")
        config, options = parse_arguments(parser, argv)
        start_tensorflow()
        ...

    if __name__ == "__main__":
        run_command(main)
"""

from __future__ import annotations

import argparse
import errno
import re
import sys
import traceback
import typing
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import docstring_parser
import jsonargparse

from visem_tf.config import Config, read_fields
from visem_tf.config.presets import PRESETS, preset
from visem_tf.config.settings import Settings, expectation, field_types, nearest
from visem_tf.errors import UserError
from visem_tf.runtime.storage import AnyPath, absolute, as_path, reason_of

DISK_PROBLEMS = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENAMETOOLONG,
    errno.EPROTONOSUPPORT,
    errno.EIO,
)


class Parser(jsonargparse.ArgumentParser):
    """A parser that raises `UserError` with the nearest valid option, and prints no usage."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raises a `UserError` that says in the user's terms what the parser found."""
        text = re.sub(r"\s+", " ", message)
        options = [name for action in self._actions for name in action.option_strings]
        if match := re.match(r"unrecognized arguments: (.*)", text):
            name = match[1].split(" ")[0].split("=")[0]
            what = "option" if name.startswith("-") else "argument"
            hint = (what == "option" and nearest(name, options)) or "; --help lists them all"
            raise UserError(f"unknown {what} {name}{hint}")
        if match := re.match(r'Parser key "(.*?)": .*Got value: (.*)', text):
            cls, name = owner(match[1])
            if name in field_types(cls):
                choices = typing.get_args(field_types(cls)[name])
                hint = nearest(match[2], [c for c in choices if isinstance(c, str)])
                raise UserError(
                    f"--{match[1]} must be {expectation(cls, name)}, not {match[2]!r}{hint}"
                )
            raise UserError(f"--{match[1]} cannot be {match[2]!r}; see --help")
        raise UserError(f"{text[0].lower()}{text[1:].rstrip('.')}; see --help")


def owner(dotted: str) -> tuple[type[Settings], str]:
    """Returns the settings class that has a dotted field, and the field's own name.

    Example:
        >>> owner("align.margin")[0].__name__, owner("align.margin")[1]
        ('AlignConfig', 'margin')
    """
    section, _, name = dotted.rpartition(".")
    return (field_types(Config)[section], name) if section else (Config, name)


def make_parser(command: str, description: str, *, arguments: str = "") -> Parser:
    """Returns a parser with the options that every command takes; a command adds its own.

    Args:
        command: the name after `python -m visem_tf.`.
        description: what the command does, for `--help`.
        arguments: further arguments for the usage line, as in "IMAGE…".
    """
    parser = Parser(
        prog=f"python -m visem_tf.{command}",
        usage=f"python -m visem_tf.{command} [options]{' ' * bool(arguments)}{arguments}",
        description=description,
        allow_abbrev=False,
        formatter_class=argparse.HelpFormatter,
        epilog="A value on the command line wins over --config, and that over --preset. A run "
        "directory that has a config.json takes the place of --preset when none is given.",
    )
    common = parser.add_argument_group("common options")
    common.add_argument(
        "--config", metavar="FILE", default="", help="a JSON file of fields, all or some"
    )
    common.add_argument("--debug", action="store_true", help="show the traceback of a mistake")
    add_fields(common, Config)
    for cls in field_types(Config).values():
        if isinstance(cls, type) and issubclass(cls, Settings):
            title = (cls.__doc__ or "").strip().split("\n")[0]
            add_fields(parser.add_argument_group(f"--{cls.section}.*", title), cls)
    return parser


def add_fields(group: Any, cls: type[Settings]) -> None:
    """Adds an option for each field of a settings class, explained by the field's docstring."""
    documented = docstring_parser.parse_from_object(cls).params
    explanations = {p.arg_name: " ".join((p.description or "").split()) for p in documented}
    default = preset("default") if cls is Config else cls()
    for name, hint in field_types(cls).items():
        if isinstance(hint, type) and issubclass(hint, Settings):
            continue
        value = getattr(default, name)
        explanation = explanations[name].rstrip(".")
        if cls is Config and hint is bool:
            group.add_argument(f"--{name}", action="store_true", help=explanation)
            continue
        if typing.get_origin(hint) is tuple:
            hint, value = str, ",".join(value)
            expected = ""
        elif cls is Config and name == "preset":
            expected = f"one of {', '.join(PRESETS)}; "
        else:
            expected = "" if hint is str else f"{expectation(cls, name)}; "
        shown = (
            {True: "true", False: "false", "": "empty"}.get(value, value)
            if (isinstance(value, (bool, str)))
            else f"{value:g}"
        )
        dotted = f"{cls.section}.{name}" if cls.section else name.replace("_", "-")
        group.add_argument(
            f"--{dotted}",
            type=hint,
            default=value,
            metavar=name.upper(),
            help=f"{explanation} ({expected}default: {shown})".replace("%", "%%"),
        )


def parse_arguments(
    parser: Parser, argv: Sequence[str] | None = None, *, finished_run: bool = False
) -> tuple[Config, jsonargparse.Namespace]:
    """Returns the resolved configuration and all the options that were parsed.

    A value on the command line wins over `--config`, that over `--preset`; without `--preset` the
    config.json of an existing run directory stands in for it.

    Args:
        parser: from `make_parser`, with the command's own arguments added.
        argv: the arguments; None takes those of this process.
        finished_run: whether the command works on an existing run, and so must be given one.

    Raises:
        UserError: an unknown option, field or preset, a bad value, or a missing file.
    """
    arguments = spelled_as_declared(sys.argv[1:] if argv is None else list(argv))
    if {"-h", "--help"} & set(arguments):
        parser.parse_args(arguments)
    given = first_look(arguments)
    if finished_run and not given.run_dir:
        raise UserError("--run-dir is missing; give the folder that visem_tf.fit wrote")
    overlay: dict[str, Any] = {}
    if given.config:
        overlay = fields_of_file(as_path(given.config))
    recorded = as_path(given.run_dir or overlay.get("run_dir") or "") / "config.json"
    if finished_run and not recorded.is_file():
        raise UserError(f"{recorded.parent} is no run directory (it has no config.json)")
    name = given.preset or overlay.get("preset")
    if not name and given.run_dir and recorded.is_file():
        # Which stages to run, and where, is of this call and not of the run.
        kept = fields_of_file(recorded)
        base = Config().updated({k: v for k, v in kept.items() if k not in ("stages", "run_dir")})
    else:
        base = preset(str(name or "default"))
    base = base.updated(overlay)
    lists = {key for key, value in base.flat() if isinstance(value, tuple)}
    defaults = {k: ",".join(v) if k in lists else v for k, v in base.flat()}
    parser.set_defaults(defaults)
    options = parser.parse_args(arguments)
    values = {key: options[key] for key, _ in base.flat()}
    for key in lists:
        values[key] = [name.strip() for name in values[key].split(",") if name.strip()]
    values["generate.ensemble"] = [absolute(path) for path in values["generate.ensemble"]]
    config = base.updated(values)
    run_dir = config.run_dir or f"runs/{config.dataset.replace('/', '-')}-{config.preset}"
    paths = {"run_dir": run_dir, "cache_dir": config.cache_dir, "data_dir": config.data_dir}
    # Absolute, since config.json is read again from elsewhere.
    resolved = {k: absolute(path) for k, path in paths.items() if path}
    return config.updated(resolved), options


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


def first_look(arguments: Sequence[str]) -> argparse.Namespace:
    """Returns the options that decide what the other options' defaults are."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for name in ("--preset", "--config", "--run-dir"):
        parser.add_argument(name, default="")
    try:
        return parser.parse_known_args(arguments)[0]
    except argparse.ArgumentError as error:
        raise UserError(f"{error}; see --help") from error


def fields_of_file(path: AnyPath) -> dict[str, Any]:
    """Returns the fields that a JSON file sets.

    Raises:
        UserError: the file is missing, unreadable or no JSON object.
    """
    try:
        return read_fields(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read the configuration {path}: {reason_of(error)}") from error
    except (UnicodeDecodeError, UserError) as error:
        raise UserError(f"{path}: {error}") from error


def run_command(main: Callable[[], object]) -> NoReturn:
    """Runs a command and ends the process: status 0, 2 for the user's mistakes, 130 for Ctrl-C.

    A `UserError`, or a disk that is full or may not be written, is told in a line or two; `--debug`
    shows the traceback as well. Anything else is a defect of the program and keeps its traceback.

    Args:
        main: the command, without arguments.
    """
    try:
        main()
        sys.stdout.flush()
    except (UserError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in DISK_PROBLEMS:
            if isinstance(error, BrokenPipeError):  # the reader of our output has left
                sys.stderr.close()
                raise SystemExit(1) from error
            raise
        if "--debug" in sys.argv:
            traceback.print_exc()
        if isinstance(error, OSError):
            message = f"{error.filename or 'the disk'}: {error.strerror}; free it or choose another"
        else:
            message = str(error)
        print(f"visem_tf: error: {message}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("visem_tf: interrupted; the same command goes on from here", file=sys.stderr)
        raise SystemExit(130) from None
    raise SystemExit(0)
