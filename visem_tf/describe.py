"""Describes pictures of the user's own, and their regions, with a finished run.

python -m visem_tf.describe --run-dir runs/f8k photo.jpg holidays/ --picture described/
"""

import contextlib
import io
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from visem_tf.cli import make_parser, parse_arguments, run_command
from visem_tf.config import Config
from visem_tf.errors import UserError
from visem_tf.images.find import find_images
from visem_tf.runtime.startup import run_first_operation, start_tensorflow
from visem_tf.runtime.storage import AnyPath, as_path

if TYPE_CHECKING:
    from visem_tf.images.decode import ImageError
    from visem_tf.images.load import LoadedImages
    from visem_tf.regions.extractor import Regions
    from visem_tf.runs.grounding import Grounder
    from visem_tf.runs.query import Query
    from visem_tf.runs.trained_run import TrainedRun


def main(argv: Sequence[str] | None = None) -> None:
    """Describes the pictures that the command line names.

    Args:
      argv: The arguments; None takes those of this process.

    Raises:
      UserError: A mistake of the user; of unreadable pictures after the others were described.
    """
    parser = make_parser(
        "describe", "Describes pictures and their regions with a finished run.", arguments="IMAGE…"
    )
    parser.add_argument(
        "images", nargs="+", metavar="IMAGE", help="a picture, or a folder with pictures"
    )
    parser.add_argument("--json", default="", metavar="FILE", help="write all descriptions here")
    parser.add_argument(
        "--picture",
        default="",
        metavar="DIR",
        help="write each picture with its boxes and their texts into this folder",
    )
    parser.add_argument(
        "--boxes",
        default="",
        metavar="FILE",
        help="describe these boxes instead of proposed ones: JSON, a list of boxes for all "
        "pictures, lists by file name, what --json writes, or COCO's instances",
    )
    parser.add_argument(
        "--box-format",
        default="rel_yxyx",
        metavar="FORMAT",
        help="how the numbers of a box are meant: rel_yxyx, rel_xyxy (shares of the picture), "
        "yxyx, xyxy, xywh or center_xywh (pixels) (default: rel_yxyx)",
    )
    parser.add_argument(
        "--sentence", default="", metavar="TEXT", help="also show which words of it look where"
    )
    parser.add_argument(
        "--top",
        type=int,
        default=6,
        metavar="N",
        help="regions to show of each picture; given boxes are all shown (default: 6)",
    )
    parser.add_argument(
        "--beam",
        type=int,
        default=None,
        metavar="K",
        help="beams of the search, 1 is greedy; short for --generate.beam_size",
    )
    parser.add_argument(
        "--beta",
        type=float,
        default=None,
        metavar="BETA",
        help="what neighbouring words of the sentence gain by sharing a region; short for "
        "--infer.beta",
    )
    config, options = parse_arguments(parser, argv, finished_run=True)
    for field, value in (("generate.beam_size", options.beam), ("infer.beta", options.beta)):
        if value is not None:
            config = config.updated({field: value})
    if options.top < 0:
        raise UserError(f"--top must be at least 0, not {options.top}")
    paths = find_images(options.images)
    start_tensorflow()
    run_first_operation()
    from visem_tf.images.load import report_unreadable
    from visem_tf.report.descriptions import Writer, write_json
    from visem_tf.runs.query import print_remarks
    from visem_tf.runs.trained_run import TrainedRun

    run = TrainedRun(config.run_dir, config)
    if options.boxes:
        _ = run.region_generator  # a run without one cannot describe boxes
    elif not run.has("generate/regions"):
        print(
            "visem_tf: warning: this run has no generator of region descriptions; the captions "
            "of whole pictures are all there is",
            file=sys.stderr,
        )
    query = None
    if options.sentence:
        query = run.grounder.read(options.sentence)
        print_remarks([query])
    failures: list[ImageError] = []
    writer = Writer(
        as_path(options.picture) if options.picture else None,
        None if options.boxes else options.top,
    )
    try:
        for pictures, regions in _regions(run, config, paths, options, failures):
            descriptions = run.describe(regions)
            grounded: list[dict[str, Any] | None] = [None] * len(descriptions)
            if query:
                grounded = ground_sentence(run.grounder, query, regions)
            for each in zip(pictures.paths, pictures.encoded, descriptions, grounded, strict=True):
                writer.take(*each)
    finally:  # what was described before a mistake, or Ctrl-C, is not lost
        if options.json:
            write_json(as_path(options.json), writer.results)
    report_unreadable(failures)


def _regions(
    run: "TrainedRun",
    config: Config,
    paths: Sequence[AnyPath],
    options: Any,
    failures: list["ImageError"],
) -> Iterator[tuple["LoadedImages", "Regions"]]:
    """Yields batches of readable pictures with their regions, proposed or given."""
    import tqdm
    from PIL import Image

    from visem_tf.images.load import load_images
    from visem_tf.regions.extractor import RegionExtractor, Regions
    from visem_tf.regions.given_boxes import BoxExtractor, read_boxes

    settings = config.regions
    given = None
    if options.boxes:
        given = read_boxes(as_path(options.boxes), options.box_format)
        if not any(given.has(path) for path in paths):
            raise UserError(
                f"{options.boxes} has no boxes for {paths[0]}; it names pictures by file"
            )
        describer = BoxExtractor(
            RegionExtractor(settings.updated({"proposer": "none"}), run.run.tuned_cnn)
        )
    batches = load_images(paths, settings, 1 if given else settings.batch_size, failures)
    with (
        tqdm.tqdm(
            total=len(paths), desc="describe", unit=" pictures", disable=None, leave=False, delay=1
        ) as bar,
        contextlib.closing(batches),
    ):
        for batch in batches:
            if given:
                if not given.has(batch.paths[0]):
                    print(
                        f"visem_tf: warning: {options.boxes} has no boxes for {batch.paths[0]}",
                        file=sys.stderr,
                    )
                size = Image.open(io.BytesIO(batch.encoded[0])).size
                regions = describer(batch.pixels, [given.of(batch.paths[0], size)])
            else:
                regions = Regions(*(part.numpy() for part in run.extractor.compiled(batch.pixels)))
            bar.clear()
            yield batch, regions
            bar.update(len(batch.paths))


def ground_sentence(
    grounder: "Grounder", query: "Query", regions: "Regions"
) -> list[dict[str, Any] | None]:
    """The score and the regions of the words of a sentence in each image of a batch."""
    from visem_tf.runs.grounding import grounding_as_json

    embeddings = grounder.embed(regions.region_features)
    scores = grounder.scores(embeddings, regions.region_mask, [query])[:, 0]
    found = grounder.ground(
        embeddings, regions.region_mask, regions.boxes, [query] * len(embeddings)
    )
    return [
        {
            "sentence": query.text,
            "score": round(float(score), 4),
            **grounding_as_json(query, found, row),
        }
        for row, score in enumerate(scores)
    ]


if __name__ == "__main__":
    run_command(main)
