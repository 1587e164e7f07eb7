"""Exports a finished run as a SavedModel for servers or as TFLite files for devices.

python -m visem_tf.export --run-dir runs/f8k --to served/captions
python -m visem_tf.export --run-dir runs/f8k --to on_device --format tflite
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from visem_tf.cli import parse_arguments, run_command
from visem_tf.config.options import make_parser, option, split_names
from visem_tf.config.recorded import EXPORT_FIELDS
from visem_tf.config.settings import nearest
from visem_tf.errors import UserError
from visem_tf.runtime.outputs import output_folder
from visem_tf.runtime.startup import start_tensorflow

_VARIANTS = ("float32", "float16", "dynamic_range", "int8")
_OF_FORMAT = {"signatures": "saved_model", "unreadable": "saved_model", "variants": "tflite"}
"""The format to which an option applies."""


class Options:
    """Options of the command."""

    to = option("DIR", type=output_folder)
    """Folder of the versions; this export becomes the next one, DIR/1, DIR/2, … (default:
    saved_model or tflite in the run directory)."""
    format = option(default="saved_model", choices=("saved_model", "tflite"))
    """Format of the export."""
    signatures = option("A,B")
    """For saved_model: signatures to write, separated by commas (default: all)."""
    unreadable = option(choices=("empty", "fail"))
    """For saved_model: whether an image that cannot be decoded leaves its own row empty or makes
    the call fail (default: empty)."""
    variants = option("A,B")
    """For tflite: files to write (default: float32,float16,dynamic_range,int8)."""
    check = option("N", 4, type=int)
    """Number of images on which texts are compared with those of Python, 0 for none."""
    pictures = option("DIR")
    """Folder of images to compare on, and to measure the ranges of int8 on (default: test and
    training images of the run's dataset)."""


def main(argv: Sequence[str] | None = None) -> None:
    """Exports the run that the command line names, and prints what was written.

    Args:
        argv: Arguments of the command, or None for those of this process.

    Raises:
        UserError: An argument is invalid, or the run cannot be exported.
    """
    changeable = ", ".join(f"--{name}" for name in EXPORT_FIELDS)
    parser = make_parser(
        "export",
        "Writes a finished run as a SavedModel that TensorFlow Serving loads (images in, texts "
        "out) or as TFLite files for devices, and compares the texts with those of Python. These "
        f"options may differ from the training: {changeable}.",
        Options,
    )
    config, options = parse_arguments(parser, argv, finished_run=True)
    for name, form in _OF_FORMAT.items():
        if getattr(options, name) and form != options.format:
            raise UserError(f"--{name} applies to --format {form}; leave it out")
    start_tensorflow()
    from visem_tf.runtime.devices import use_threads
    from visem_tf.runtime.published import is_published
    from visem_tf.runtime.storage import as_path
    from visem_tf.runtime.working_copy import working_copy

    export = _saved_model if options.format == "saved_model" else _tflite
    if not options.to and is_published(as_path(config.run_dir)):
        raise UserError("--to is missing; a published model has no place for exports")
    to = working_copy(options.to) if options.to else working_copy(config.run_dir) / options.format
    try:
        output_folder(str(to))
    except argparse.ArgumentTypeError as error:
        raise UserError(f"--to is missing: {error}") from error
    use_threads(config.compute.threads)
    address = options.to or str(as_path(config.run_dir) / options.format)
    export(config, options, to, address)


def _saved_model(config: Any, options: Any, to: Path, address: str) -> None:
    from visem_tf.datasets import PRECOMPUTED
    from visem_tf.export.description import check_exportable
    from visem_tf.export.parity import sample_images
    from visem_tf.export.saved_model.serving_files import docker_command, write_configuration
    from visem_tf.export.saved_model.writer import export_saved_model
    from visem_tf.runs.trained_run import TrainedRun
    from visem_tf.runtime.storage import is_remote

    run = TrainedRun(config.run_dir, config)
    check_exportable(run)
    images: list[bytes] = []
    origin = ""
    if config.dataset_name != PRECOMPUTED:  # its models take no images
        images, origin = sample_images(config, max(options.check, 0), folder=options.pictures)
    export = export_saved_model(
        run,
        to,
        unreadable=options.unreadable or "empty",
        names=split_names(options.signatures) or None,
        images=images,
    )
    files = write_configuration(to)
    print(export.table(address))
    if images:
        print(f"texts were compared on {len(images)} {origin}, through the session loader")
    shown = (f"{address}/{file.relative_to(to)}" for file in files)
    print("configuration for a server:", ", ".join(shown))
    if not is_remote(address):
        print(docker_command(to))


def _tflite(config: Any, options: Any, to: Path, address: str) -> None:
    from visem_tf.export.parity import sample_images
    from visem_tf.export.tflite.writer import export_tflite
    from visem_tf.runs.trained_run import TrainedRun

    variants = split_names(options.variants) or _VARIANTS
    for name in variants:
        if name not in _VARIANTS:
            raise UserError(
                f"--variants must be of {', '.join(_VARIANTS)}, not {name!r}"
                f"{nearest(name, _VARIANTS)}"
            )

    def calibration(count: int) -> list[bytes]:
        return sample_images(config, count, split="train", folder=options.pictures)[0]

    images, origin = sample_images(config, max(options.check, 0), folder=options.pictures)
    run = TrainedRun(config.run_dir, config)
    export = export_tflite(run, to, variants=variants, images=images, calibration=calibration)
    print(export.table(address))
    if images:
        print(f"texts were compared on {len(images)} {origin}")


if __name__ == "__main__":
    run_command(main)
