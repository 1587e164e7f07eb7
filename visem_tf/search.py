"""Ranks images by a sentence, and names for each the region of every word.

    python -m visem_tf.search --run-dir runs/f8k --images photos/ "a dog in the snow"

The regions of images are kept in the cache directory, so that the next search takes seconds.

    python -m visem_tf.search --run-dir runs/f8k --index index --images photos/
    python -m visem_tf.search --run-dir runs/f8k --index index "a dog in the snow"

searches an index instead, which may have more images than fit into memory.
"""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from visem_tf.cli import parse_arguments, run_command
from visem_tf.config.options import make_parser, option, short_for
from visem_tf.errors import UserError
from visem_tf.images.find import find_images, unused_name
from visem_tf.loading import load
from visem_tf.runtime.outputs import output_file, output_folder
from visem_tf.runtime.storage import AnyPath, as_path

if TYPE_CHECKING:
    from visem_tf.images.read import ImageError
    from visem_tf.images.sources import ImageSource
    from visem_tf.regions.search_index import SearchIndex
    from visem_tf.report.results import SearchResult
    from visem_tf.runs.trained_run import TrainedRun


class Options:
    """Options of the command."""

    sentences = option("SENTENCE", [], nargs="*")
    """What to search for."""
    images = option("DIR", [], action="append")
    """A folder of images, or an image; may be given several times."""
    index = option("PLACE")
    """A folder of the vectors of many images, on any storage; --images are added to it, and
    sentences are searched for in all its images."""
    candidates = option("N", None, type=int)
    """Images of the index that are scored by their regions, after a first choice by one vector for
    each image (default: 1000)."""
    top = option("N", 10, type=int)
    """Images to show."""
    beta = short_for("infer.beta")
    """Short for --infer.beta."""
    json = option("FILE", type=output_file)
    """Write the results here."""
    picture = option("DIR", type=output_folder)
    """Write each image that is shown, with its snippets on their regions, to this folder."""


def main(argv: Sequence[str] | None = None) -> None:
    """Searches the images that the command line names.

    Args:
        argv: Arguments; None takes those of this process.

    Raises:
        UserError: A mistake of the user, or unreadable images, after the others are ranked.
        OSError: The disk of the index is full, or cannot be written.
    """
    parser = make_parser(
        "search",
        "Ranks images by sentences, and shows the region of every word.",
        Options,
        arguments="--images DIR SENTENCE…",
    )
    config, options = parse_arguments(parser, argv, finished_run=True)
    _check(options)
    paths = find_images(options.images)
    model = load(config.run_dir, config)
    from visem_tf.images.read import report_unreadable
    from visem_tf.images.sources import path_sources
    from visem_tf.runs.query import print_remarks
    from visem_tf.runs.user_images import cached_regions
    from visem_tf.runtime.json_files import write_json

    run, sources = model.run, path_sources(paths)
    queries = [run.grounder.read(sentence) for sentence in options.sentences]
    print_remarks(queries)
    failures: list[ImageError] = []
    if options.index:
        index = _open_index(run, options.index, sources, failures)
        results = []
        if queries:
            results = model.rank_index(queries, index, options.top, options.candidates)
    else:
        batches = cached_regions(run, sources, failures, config.cache_dir)
        results = model.rank(queries, batches, options.top)
        if not results[0].searched:
            report_unreadable(failures)
    _print(results)
    if options.json:
        write_json(as_path(options.json), [result.to_dict() for result in results])
    if options.picture:
        _draw(as_path(options.picture), results, failures)
    report_unreadable(failures)


def _check(options: argparse.Namespace) -> None:
    """Checks options that depend on each other."""
    if options.top < 1:
        raise UserError(f"--top must be at least 1, not {options.top}")
    if not options.sentences and not (options.index and options.images):
        raise UserError("there is no sentence to search for; give at least one")
    if not options.images and not options.index:
        raise UserError("--images is missing; give the folder with the images to search")
    if options.candidates is not None:
        if not options.index:
            raise UserError("--candidates is for an index; give --index, or leave it out")
        if options.candidates < options.top:
            raise UserError(
                f"--candidates must be at least --top ({options.top}), not {options.candidates}"
            )


def _open_index(
    run: "TrainedRun", place: str, sources: "list[ImageSource]", failures: "list[ImageError]"
) -> "SearchIndex":
    """Opens an index, and adds images to it if there are any."""
    from visem_tf.runs.indexing import add_to_index, index_of
    from visem_tf.runtime.terminal import print_line

    if not sources:
        return index_of(run, place)
    index, added = add_to_index(run, place, sources, failures)
    print_line(f"{place}: {added:,} images added, {len(index):,} in all")
    return index


def _print(results: "Sequence[SearchResult]") -> None:
    from visem_tf.report.drawing import place_in_words
    from visem_tf.runtime.terminal import print_line, print_table

    for number, result in enumerate(results):
        if number:
            print()
        count = result.searched
        print_line(f"“{result.sentence}” in {count:,} image{'s' * (count != 1)}", style="bold")
        rows = []
        for image in result.images:
            regions = [f"{s.text} → {place_in_words(s.box)}" for s in image.segments]
            rows.append([str(image.rank), f"{image.score:.2f}", image.image, "; ".join(regions)])
        print_table(["#>", "score>", "image", "regions of the words"], rows, indent=2)


def _draw(folder: AnyPath, results: "Sequence[SearchResult]", failures: "list[ImageError]") -> None:
    """Draws the images that were found; those that are gone or damaged join `failures`."""
    from visem_tf.images.read import ImageError
    from visem_tf.report.drawing import as_jpeg
    from visem_tf.runtime.files import write_atomically

    taken: set[str] = set()
    for number, result in enumerate(results, start=1):
        prefix = f"{number}-" if len(results) > 1 else ""
        for image in result.images:
            stem = as_path(image.image).stem
            name = unused_name(f"{prefix}{image.rank:02d}-{stem}", ".jpg", taken)
            try:
                picture = image.plot()
            except ImageError as error:  # an index does not open its images
                failures.append(error)
            else:
                write_atomically(folder / name, as_jpeg(picture))


if __name__ == "__main__":
    run_command(main)
