"""Describes images of the user, and their regions, with a finished run.

python -m visem_tf.describe --run-dir runs/f8k photo.jpg holidays/ --picture described/
"""

import argparse
import contextlib
import sys
from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from visem_tf.cli import parse_arguments, run_command
from visem_tf.config import Config
from visem_tf.config.options import make_parser, option, short_for
from visem_tf.errors import UserError
from visem_tf.images.find import find_images
from visem_tf.images.read import ImageError, report_unreadable
from visem_tf.images.sources import ImageSource, path_sources
from visem_tf.loading import load
from visem_tf.preparing import obstacle, open_prepared, prepare, prepare_for_next_time
from visem_tf.report.description_writer import Writer
from visem_tf.report.results import Grounding, ImageDescription
from visem_tf.runtime.json_files import json_written_at_end
from visem_tf.runtime.outputs import output_file, output_folder
from visem_tf.runtime.storage import as_path
from visem_tf.runtime.streams import warn

if TYPE_CHECKING:
    from visem_tf.loaded_model import LoadedModel

Described = Generator[tuple[ImageDescription, Grounding | None], None, None]


class Options:
    """Options of the command."""

    images = option("IMAGE", nargs="+")
    """An image, or a folder of images."""
    json = option("FILE", type=output_file)
    """Write all descriptions here."""
    picture = option("DIR", type=output_folder)
    """Write each image with its boxes and their texts into this folder."""
    boxes = option("FILE")
    """Describe these boxes instead of proposed ones: JSON, a list of boxes for all images, lists by
    file name, the output of --json, or COCO's instances."""
    box_format = option("FORMAT", "rel_yxyx")
    """The format of the boxes: rel_yxyx, rel_xyxy (relative to the image), yxyx, xyxy, xywh or
    center_xywh (pixels)."""
    sentence = option("TEXT")
    """Also show the region of every word of it."""
    top = option("N", 6, type=int)
    """Regions to show of each image; given boxes are all shown."""
    engine = option(default="auto", choices=("auto", "tensorflow", "litert"))
    """litert starts without TensorFlow, from a file that is made of a published model once and kept
    in --cache-dir; it takes no --sentence, --boxes and other changes of how the model answers. auto
    makes this file after its first answer and uses it where it can."""
    beam = short_for("generate.beam_size")
    """Short for --generate.beam_size."""
    beta = short_for("infer.beta")
    """Short for --infer.beta."""


def main(argv: Sequence[str] | None = None) -> None:
    """Describes the images that the command line names.

    Args:
        argv: Arguments; None takes those of this process.

    Raises:
        UserError: A mistake of the user, or unreadable images, after the others are described.
    """
    parser = make_parser(
        "describe",
        "Describes images and their regions with a finished run.",
        Options,
        arguments="IMAGE…",
    )
    config, options = parse_arguments(parser, argv, finished_run=True)
    if options.top < 0:
        raise UserError(f"--top must be at least 0, not {options.top}")
    sources = path_sources(find_images(options.images))
    reason = _reason_for_tensorflow(config, options)
    if reason and options.engine == "litert":
        raise UserError(f"--engine litert {reason}; use --engine auto")
    prepared = None if reason or options.engine == "tensorflow" else open_prepared(config)
    failures: list[ImageError] = []
    loaded = None if prepared else load(config.run_dir, config)
    if loaded and options.engine == "litert":
        prepared = prepare(loaded.run)
    if prepared:
        if not prepared.describes_regions:
            _warn_of_captions_only()
        described: Described = ((each, None) for each in prepared.describe(sources, failures))
    else:
        assert loaded is not None
        described = _describe_by_tensorflow(loaded, options, sources, failures)
    writer = Writer(
        as_path(options.picture) if options.picture else None,
        None if options.boxes else options.top,
    )
    with json_written_at_end(options.json, writer.results), contextlib.closing(described):
        for description, grounding in described:
            writer.take(description, grounding)
    report_unreadable(failures)
    if loaded and options.engine == "auto" and not reason:
        sys.stdout.flush()
        prepare_for_next_time(loaded.run)


def _reason_for_tensorflow(config: Config, options: argparse.Namespace) -> str | None:
    """Why LiteRT cannot answer, as the end of a sentence; None if it can."""
    for name in ("sentence", "boxes"):
        if getattr(options, name):
            return f"has no --{name}"
    return obstacle(config)


def _describe_by_tensorflow(
    model: "LoadedModel",
    options: argparse.Namespace,
    sources: Sequence[ImageSource],
    failures: list[ImageError],
) -> Described:
    """Returns a generator of descriptions, with the groundings of `--sentence`."""
    from visem_tf.regions.given_boxes import read_boxes
    from visem_tf.runs.query import print_remarks

    run = model.run
    boxes = read_boxes(as_path(options.boxes), options.box_format) if options.boxes else None
    if boxes and not any(boxes.has(as_path(source.name)) for source in sources):
        raise UserError(
            f"{options.boxes} has no boxes for {sources[0].name}; it names images by file"
        )
    if boxes:
        _ = run.region_generator  # raises an error if the run cannot describe boxes
    elif not run.has("generate/regions"):
        _warn_of_captions_only()
    query = run.grounder.read(options.sentence) if options.sentence else None
    if query:
        print_remarks([query])

    def boxes_of(source: ImageSource, size: tuple[int, int]) -> np.ndarray:
        assert boxes is not None
        path = as_path(source.name)
        if not boxes.has(path):
            warn(f"{boxes.source} has no boxes for {path}")
        return boxes.of(path, size)

    def describe() -> Described:
        with contextlib.closing(
            model.batches(sources, failures, boxes_of if boxes else None)
        ) as batches:
            for batch in batches:
                described = model.describe_batch(*batch)
                grounded: Sequence[Sequence[Grounding | None]] = [[None]] * len(described)
                if query:
                    grounded = model.ground_batch(*batch, [[query]] * len(described))
                for description, [grounding] in zip(described, grounded, strict=True):
                    yield description, grounding

    return describe()


def _warn_of_captions_only() -> None:
    warn(
        "this run has no generator of region descriptions; only captions of whole images are "
        "written"
    )


if __name__ == "__main__":
    run_command(main)
