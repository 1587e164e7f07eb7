"""The configuration and the error reports that all commands share.

A command is a module with a `main` that parses its arguments before it imports TensorFlow, so that
`--help` and mistakes take no time:

    def main(argv: Sequence[str] | None = None) -> None:
        parser = make_parser("fit", "Trains all models.", Options)
        config, options = parse_arguments(parser, argv)
        start_tensorflow()
        ...

    if __name__ == "__main__":
        run_command(main)
"""

import argparse
import contextlib
import errno
import sys
import traceback
from collections.abc import Callable, Collection, Sequence
from typing import Any, NoReturn

from visem_tf.config import Config, read_fields
from visem_tf.config.options import Parser
from visem_tf.config.presets import preset
from visem_tf.config.recorded import starting_fields
from visem_tf.errors import UserError
from visem_tf.runtime.model_places import find_model, model_address
from visem_tf.runtime.outputs import output_folder
from visem_tf.runtime.startup import allow_open_files
from visem_tf.runtime.storage import AnyPath, absolute, as_path, read_regular, reason_of
from visem_tf.runtime.streams import discard_output, prepare_standard_streams, tell
from visem_tf.runtime.working_copy import finish_copies

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

_LIMITS = {
    errno.EMFILE: "raise the limit of open files (ulimit -n, or ulimit -Hn)",
    errno.ENFILE: "close other programs, or raise the limit fs.file-max",
    errno.ENOMEM: "free memory, or raise the limit vm.max_map_count",
}
"""What to do about limits of the system."""


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
    without_folder = base.dataset_name == Config.dataset  # scenes, or scenes/smoke
    if "data_dir" in {**overlay, **given} and without_folder:
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
    """Runs a command, copies back what it has written to remote folders, and exits.

    The status is 0, 2 for mistakes of the user, and 130 for Ctrl-C.

    A `UserError`, a disk that is full or not writable, or a limit of the system is reported in one
    or two lines, and with `--debug` also by its traceback. Any other exception is a defect of the
    program and keeps its traceback.

    Args:
        main: Command to call, without arguments.
    """
    prepare_standard_streams()
    allow_open_files()
    status = _report_errors(lambda: _run_main(main))
    copied = _report_errors(finish_copies)  # also what a failed or interrupted command has written
    discard_output()
    raise SystemExit(status or copied or 0)


def _run_main(main: Callable[[], object]) -> object:
    """Runs a command, and returns the exit status that it chooses itself."""
    status: object = 0
    try:
        main()
    except SystemExit as end:  # of --help, or with a status of the command's own
        status = end.code
    sys.stdout.flush()
    return status


def _report_errors(part: Callable[[], object]) -> object:
    """Runs a part of a command, and returns its exit status: of an error, or what it returns."""
    try:
        return part()
    except (UserError, OSError) as error:
        return _report(error)
    except KeyboardInterrupt:
        _print_message("interrupted; run the same command again to resume")
        return 130


def _report(error: UserError | OSError) -> int:
    """Says what the user can do about an error; returns the exit status.

    Raises:
        OSError: Neither the disk nor a limit of the system has caused it: it is a defect.
    """
    if isinstance(error, BrokenPipeError):  # the program that reads the output has ended
        return 1
    if isinstance(error, OSError) and not _is_of_system(error):
        raise error
    if "--debug" in sys.argv:
        with contextlib.suppress(OSError):
            traceback.print_exc()
    if isinstance(error, OSError):
        # Where a file is copied, the second name is that of the copy.
        place = error.filename2 or error.filename or "the disk, or standard output"
        advice = _LIMITS.get(error.errno or 0, "free it or choose another")
        _print_message(f"error: {place}: {error.strerror}; {advice}")
    else:
        _print_message(f"error: {error}")
    return 2


def _print_message(message: str) -> None:
    """Prints a message on standard error, unless that is full or closed."""
    with contextlib.suppress(OSError):
        tell(message)


def _is_of_system(error: OSError) -> bool:
    """Returns whether a disk is full or not writable, or the system has reached a limit.

    `tempfile` says in a sentence alone that the disk is full.
    """
    no_temporary_folder = str(error.strerror).startswith("No usable temporary directory")
    return no_temporary_folder or error.errno in (*DISK_PROBLEMS, *_LIMITS)
