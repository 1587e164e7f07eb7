"""Options, configuration and error reports that all commands share.

A command is a module with a `main` that parses its arguments before it imports TensorFlow, so that
`--help` and mistakes take no time:

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
import contextlib
import errno
import functools
import sys
import traceback
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NoReturn

import docstring_parser

from visem_tf.config import Config, read_fields
from visem_tf.config.presets import preset
from visem_tf.config.recorded import starting_fields
from visem_tf.config.settings import Settings, dotted_name, expectation, field_types, nearest
from visem_tf.errors import UserError
from visem_tf.runtime.model_places import find_model, model_address
from visem_tf.runtime.outputs import output_folder
from visem_tf.runtime.storage import AnyPath, absolute, as_path, read_regular, reason_of
from visem_tf.runtime.streams import discard_output, prepare_standard_streams, without_controls

DISK_PROBLEMS = (
    errno.ENOTDIR,
    errno.ELOOP,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENAMETOOLONG,
    errno.EPROTONOSUPPORT,
    errno.EIO,
)


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


def make_parser(command: str, description: str, *, arguments: str = "") -> Parser:
    """Returns a parser with the options that every command takes; a command adds its own.

    Args:
        command: Name after `python -m visem_tf.`.
        description: Description of the command for `--help`.
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
    common = parser.add_argument_group("common options")
    common.add_argument(
        "--config", metavar="FILE", default="", help="a JSON file that sets all or some fields"
    )
    common.add_argument("--debug", action="store_true", help="show the traceback of an error")
    defaults = dict(preset("default").flat())
    _add_fields(common, Config, defaults)
    for cls in field_types(Config).values():
        if _is_section(cls):
            title = (cls.__doc__ or "").split("\n")[0]
            _add_fields(parser.add_argument_group(f"--{cls.section}.*", title), cls, defaults)
    return parser


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
                option, action="store_true", default=argparse.SUPPRESS, help=help_text
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
    """Returns the docstring of each field of a settings class, as argparse takes it."""
    documented = docstring_parser.parse_from_object(cls).params
    texts = {p.arg_name: " ".join((p.description or "").split()) for p in documented}
    return {name: text.rstrip(".").replace("%", "%%") for name, text in texts.items()}


def add_short_option(parser: argparse.ArgumentParser, option: str, field: str) -> None:
    """Adds an option that is another name of a field's option.

    Args:
        parser: Parser from `make_parser`.
        option: The option, as in "--beam".
        field: Dotted name of the field, as in "generate.beam_size".
    """
    section, _, name = field.partition(".")
    parser.add_argument(
        option,
        dest=field,
        type=functools.partial(_value_of, field_types(field_types(Config)[section])[name]),
        default=argparse.SUPPRESS,
        metavar=name.upper(),
        help=f"short for --{field}",
    )


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Settings)


def _value_of(kind: Any, text: str) -> Any:
    """Returns an option's text in a field's type, or unchanged for `Config` to refuse it."""
    if typing.get_origin(kind) is tuple:
        return [name.strip() for name in text.split(",") if name.strip()]
    if kind is bool:
        return {"true": True, "false": False}.get(text.lower(), text)
    try:
        return kind(text) if kind in (int, float) else text
    except ValueError:
        return text


def parse_arguments(
    parser: Parser,
    argv: Sequence[str] | None = None,
    *,
    finished_run: bool = False,
    unless: Collection[str] = (),
) -> tuple[Config, argparse.Namespace]:
    """Returns the resolved configuration and the options of a command.

    Values on the command line override `--config`, which overrides `--preset`. Without `--preset`,
    the config.json of an existing run directory takes its place, or that of `--init-from`.

    Args:
        parser: Parser from `make_parser`, with the command's own arguments.
        argv: Arguments; None takes those of this process.
        finished_run: Whether the command needs trained models. Without a run directory, those in
            the package are used.
        unless: Options of which each replaces the run directory.

    Raises:
        UserError: An option, a field or a value is invalid, or a file is missing.
    """
    options = parser.parse(sys.argv[1:] if argv is None else argv)
    known = dict(Config().flat())
    given = {name: value for name, value in vars(options).items() if name in known}
    overlay = fields_of_file(as_path(options.config)) if options.config else {}
    run_dir = given.get("run_dir") or overlay.get("run_dir")
    if finished_run and (run_dir or not any(getattr(options, name) for name in unless)):
        given["run_dir"] = run_dir = str(_finished_run(run_dir))
    recorded = as_path(run_dir) / "config.json" if run_dir else None
    name = given.get("preset") or overlay.get("preset")
    if not name and recorded is not None and recorded.is_file():
        fields = fields_of_file(recorded)
        # Which stages to run, and where, belongs to this call and not to the run.
        base = Config().updated({k: v for k, v in fields.items() if k not in ("stages", "run_dir")})
    elif not name and (init_from := given.get("init_from") or overlay.get("init_from")):
        base = Config().updated(
            starting_fields(fields_of_file(find_model(init_from) / "config.json"))
        )
    else:
        base = preset(name or "default")
    if "data_dir" in {**overlay, **given} and base.dataset == Config.dataset:  # without a folder
        base = base.updated({"dataset": "auto"})
    config = base.updated(overlay).updated(given)
    if "cache_dir" in given:
        _check_cache(given["cache_dir"])
    data = config.dataset.replace("/", "-")
    if data == "auto":
        data = as_path(config.data_dir).name or data
    run_dir = config.run_dir or f"runs/{data}-{config.preset}"
    paths = {"run_dir": run_dir, "cache_dir": config.cache_dir, "data_dir": config.data_dir}
    paths["regions.proposer_file"] = config.regions.proposer_file
    # Absolute, because config.json is read again from other folders.
    absolute_paths: dict[str, Any] = {name: absolute(path) for name, path in paths.items() if path}
    if config.init_from:
        absolute_paths["init_from"] = model_address(config.init_from)
    absolute_paths["generate.ensemble"] = [absolute(path) for path in config.generate.ensemble]
    return config.updated(absolute_paths), options


def _check_cache(cache_dir: Any) -> None:
    try:
        output_folder(str(cache_dir))
    except argparse.ArgumentTypeError as error:
        raise UserError(f"--cache-dir: {error}") from error


def _finished_run(run_dir: str | None) -> AnyPath:
    """The folder of the model that a command is to use."""
    if run_dir:
        return find_model(run_dir)
    try:
        return find_model()
    except UserError as error:
        raise UserError(f"--run-dir is missing: {error}") from error


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


def fields_of_file(path: AnyPath) -> dict[str, Any]:
    """Returns the fields that a JSON file sets.

    Raises:
        UserError: The file is missing or unreadable, or is not a JSON object.
    """
    try:
        return read_fields(read_regular(path).decode("utf-8"))
    except OSError as error:
        raise UserError(f"cannot read the configuration {path}: {reason_of(error)}") from error
    except (UnicodeDecodeError, UserError) as error:
        raise UserError(f"{path}: {error}") from error


def run_command(main: Callable[[], object]) -> NoReturn:
    """Runs a command and exits: status 0, 2 for mistakes of the user, 130 for Ctrl-C.

    A `UserError`, or a disk that is full or not writable, is reported in one or two lines, and with
    `--debug` also by its traceback. Any other exception is a defect of the program and keeps its
    traceback.

    Args:
        main: Command to call, without arguments.
    """
    prepare_standard_streams()
    status: object = 0
    try:
        try:
            main()
        except SystemExit as end:  # of --help, or with a status of the command's own
            status = end.code
        sys.stdout.flush()
    except (UserError, OSError) as error:
        status = _report(error)
    except KeyboardInterrupt:
        _print_message("interrupted; run the same command again to resume")
        status = 130
    discard_output()
    raise SystemExit(status)


def _report(error: UserError | OSError) -> int:
    """Says what the user can do about an error; returns the exit status.

    Raises:
        OSError: The error is no matter of the disk, but a defect of the program.
    """
    if isinstance(error, BrokenPipeError):  # the program that reads the output has ended
        return 1
    if isinstance(error, OSError) and not _is_of_disk(error):
        raise error
    if "--debug" in sys.argv:
        with contextlib.suppress(OSError):
            traceback.print_exc()
    if isinstance(error, OSError):
        # Where a file is copied, the second name is that of the copy.
        place = error.filename2 or error.filename or "the disk, or standard output"
        _print_message(f"error: {place}: {error.strerror}; free it or choose another")
    else:
        _print_message(f"error: {error}")
    return 2


def _print_message(message: str) -> None:
    """Prints a message on standard error, unless that is full or closed."""
    with contextlib.suppress(OSError):
        print(f"visem_tf: {without_controls(message)}", file=sys.stderr)


def _is_of_disk(error: OSError) -> bool:
    """Returns whether a disk is full or not writable; `tempfile` says so in a sentence alone."""
    no_temporary_folder = str(error.strerror).startswith("No usable temporary directory")
    return no_temporary_folder or error.errno in DISK_PROBLEMS
