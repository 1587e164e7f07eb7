"""Exports a finished run, to be served or to be put on a device.

python -m visem_tf.export --run-dir runs/f8k --to served/captions
python -m visem_tf.export --run-dir runs/f8k --to on_device --format tflite
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from visem_tf.cli import make_parser, parse_arguments, run_command
from visem_tf.runtime.startup import start_tensorflow

_FORMATS = ("saved_model", "tflite")
_UNREADABLE = ("empty", "fail")
_VARIANTS = ("float32", "float16", "dynamic_range", "int8")


def main(argv: Sequence[str] | None = None) -> None:
    """Exports the run that the command line names, and prints what was written.

    Args:
      argv: The arguments; None takes those of this process.

    Raises:
      UserError: A mistake of the user.
    """
    parser = make_parser(
        "export",
        "Writes a finished run as a SavedModel that TensorFlow Serving loads (pictures in, text "
        "out), or as TFLite files for devices, and compares their texts with those of Python. "
        "--generate.beam_size, --generate.max_length, --generate.length_normalisation, "
        "--generate.allow_unknown, --infer.beta and --regions.num_regions set how it answers.",
    )
    parser.add_argument(
        "--to",
        default="",
        metavar="DIR",
        help="the folder of the versions; this export becomes its next one, DIR/1, DIR/2, … "
        "(default: saved_model or tflite in the run directory)",
    )
    parser.add_argument(
        "--format",
        default="saved_model",
        choices=_FORMATS,
        help="the format (default: saved_model)",
    )
    parser.add_argument(
        "--signatures",
        default="",
        metavar="A,B",
        help="for saved_model: the signatures to write, separated by commas (default: all)",
    )
    parser.add_argument(
        "--unreadable",
        default="empty",
        choices=_UNREADABLE,
        help="for saved_model: whether a picture that cannot be decoded leaves its own row empty "
        "or fails the call (default: empty)",
    )
    parser.add_argument(
        "--variants",
        default=",".join(_VARIANTS),
        metavar="A,B",
        help=f"for tflite: the files to write (default: {','.join(_VARIANTS)})",
    )
    parser.add_argument(
        "--check",
        default=4,
        type=int,
        metavar="N",
        help="pictures on which texts are compared with those of Python; 0 compares nothing "
        "(default: 4)",
    )
    parser.add_argument(
        "--pictures",
        default="",
        metavar="DIR",
        help="a folder of pictures to compare on and to measure the ranges of int8 on (default: "
        "those of the run's data set, test pictures to compare and training pictures to measure)",
    )
    config, options = parse_arguments(parser, argv, finished_run=True)
    start_tensorflow()
    from visem_tf.runtime.working_copy import working_copy

    export = _saved_model if options.format == "saved_model" else _tflite
    to = working_copy(options.to) if options.to else working_copy(config.run_dir) / options.format
    export(config, options, to)


def _saved_model(config: Any, options: Any, to: Path) -> None:
    from visem_tf.datasets import PRECOMPUTED
    from visem_tf.export.samples import sample_pictures
    from visem_tf.export.saved_model.serving import docker_command, write_configuration
    from visem_tf.export.saved_model.writing import check_exportable, export_saved_model
    from visem_tf.runs.trained_run import TrainedRun

    run = TrainedRun(config.run_dir, config)
    check_exportable(run)
    pictures: list[bytes] = []
    where = ""
    if config.dataset != PRECOMPUTED:  # which has no pictures, and says nothing of any
        pictures, where = sample_pictures(config, max(options.check, 0), folder=options.pictures)
    export = export_saved_model(
        run,
        to,
        unreadable=options.unreadable,
        names=_names(options.signatures) or None,
        pictures=pictures,
    )
    files = write_configuration(to)
    print(export.table())
    if pictures:
        print(f"texts were compared on {len(pictures)} {where}, through the session loader")
    print("configuration for a server:", ", ".join(map(str, files)))
    print(docker_command(to))


def _tflite(config: Any, options: Any, to: Path) -> None:
    from visem_tf.config.settings import nearest
    from visem_tf.errors import UserError
    from visem_tf.export.samples import sample_pictures
    from visem_tf.export.tflite.writing import export_tflite
    from visem_tf.runs.trained_run import TrainedRun

    variants = _names(options.variants)
    for name in variants:
        if name not in _VARIANTS:
            raise UserError(
                f"--variants must be of {', '.join(_VARIANTS)}, not {name!r}"
                f"{nearest(name, _VARIANTS)}"
            )
    count = max(options.check, 0)
    pictures, where = sample_pictures(config, count, folder=options.pictures)
    export = export_tflite(
        TrainedRun(config.run_dir, config),
        to,
        variants=variants,
        pictures=pictures,
        calibration=lambda count: sample_pictures(
            config, count, split="train", folder=options.pictures
        )[0],
    )
    print(export.table())
    if pictures:
        print(f"texts were compared on {len(pictures)} {where}")


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


if __name__ == "__main__":
    run_command(main)
