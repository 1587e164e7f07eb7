"""Exports a finished run, to be served.

python -m visem_tf.export --run-dir runs/f8k --to served/captions
"""

from collections.abc import Sequence
from pathlib import Path

from visem_tf.cli import make_parser, parse_arguments, run_command
from visem_tf.quiet import start_tensorflow


def main(argv: Sequence[str] | None = None) -> None:
    """Exports the run that the command line names, and prints what was written.

    Args:
      argv: The arguments; None takes those of this process.

    Raises:
      UserError: A mistake of the user.
    """
    parser = make_parser(
        "export",
        "Writes a finished run as a SavedModel that TensorFlow Serving loads: pictures in, text "
        "out. --generate.beam_size, --generate.length_normalisation and --generate.max_length set "
        "how it searches.",
    )
    parser.add_argument(
        "--to",
        default="",
        metavar="DIR",
        help="the folder of the versions; this export becomes its next one, DIR/1, DIR/2, … "
        "(default: saved_model in the run directory)",
    )
    parser.add_argument(
        "--format",
        default="saved_model",
        choices=["saved_model"],
        help="the format (default: saved_model)",
    )
    config, options = parse_arguments(parser, argv, finished_run=True)
    start_tensorflow()
    from visem_tf.export.saved_model import export_saved_model

    from visem_tf.trained import TrainedRun

    to = Path(options.to).expanduser() if options.to else Path(config.run_dir) / "saved_model"
    print(export_saved_model(TrainedRun(config.run_dir, config), to).table())


if __name__ == "__main__":
    run_command(main)
