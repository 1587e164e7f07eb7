"""Ranks pictures by a sentence, and names for each the region that every word looked at.

    python -m visem_tf.search --run-dir runs/f8k --images photos/ "a dog in the snow"

The regions of pictures are kept in the cache directory: the next search takes seconds.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from visem_tf.cli import make_parser, parse_arguments, run_command
from visem_tf.errors import UserError
from visem_tf.images.find import find_images, unused_name
from visem_tf.runtime.startup import run_first_operation, start_tensorflow
from visem_tf.runtime.storage import AnyPath, as_path, reason_of

_STORED_AT_A_TIME = 256

if TYPE_CHECKING:
    from visem_tf.images.decode import ImageError
    from visem_tf.regions.extractor import Regions
    from visem_tf.runs.grounding import Grounder
    from visem_tf.runs.query import Query
    from visem_tf.runs.trained_run import TrainedRun


def main(argv: Sequence[str] | None = None) -> None:
    """Searches the pictures that the command line names.

    Args:
      argv: The arguments; None takes those of this process.

    Raises:
      UserError: A mistake of the user; of unreadable pictures after the others were ranked.
    """
    parser = make_parser(
        "search",
        "Ranks pictures by sentences, and shows which region every word looks at.",
        arguments="--images DIR SENTENCE…",
    )
    parser.add_argument("sentences", nargs="+", metavar="SENTENCE", help="what to look for")
    parser.add_argument(
        "--images",
        action="append",
        default=[],
        metavar="DIR",
        help="a folder of pictures, or a picture; may be given several times",
    )
    parser.add_argument(
        "--top", type=int, default=10, metavar="N", help="pictures to show (default: 10)"
    )
    parser.add_argument(
        "--beta",
        default=None,
        type=float,
        metavar="BETA",
        help="what neighbouring words gain by sharing a region; short for --infer.beta",
    )
    parser.add_argument("--json", default="", metavar="FILE", help="write the results here")
    parser.add_argument(
        "--picture",
        default="",
        metavar="DIR",
        help="write each picture that is shown, with its snippets on their regions, to this folder",
    )
    config, options = parse_arguments(parser, argv, finished_run=True)
    if options.beta is not None:
        config = config.updated({"infer.beta": options.beta})
    if options.top < 1:
        raise UserError(f"--top must be at least 1, not {options.top}")
    if not options.images:
        raise UserError("--images is missing; give the folder with the pictures to search")
    paths = find_images(options.images)
    start_tensorflow()
    run_first_operation()
    from visem_tf.images.load import report_unreadable
    from visem_tf.runs.query import print_remarks
    from visem_tf.runs.trained_run import TrainedRun

    run = TrainedRun(config.run_dir, config)
    queries = [run.grounder.read(sentence) for sentence in options.sentences]
    print_remarks(queries)
    failures: list[ImageError] = []
    paths, regions = stored_regions(run, paths, failures)
    results = []
    if paths:
        results = rank(run.grounder, queries, paths, regions, options.top)
        _print(results)
    if options.picture:
        _draw(as_path(options.picture), results)
    if options.json:
        from visem_tf.report.descriptions import write_json

        write_json(as_path(options.json), results)
    report_unreadable(failures)


def stored_regions(
    run: "TrainedRun", paths: Sequence[AnyPath], failures: list["ImageError"]
) -> tuple[list[AnyPath], "Regions"]:
    """The regions of pictures, from the cache directory where they are known.

    Args:
      run: Finds and describes regions.
      paths: The files.
      failures: Is given the errors of those that cannot be read.

    Returns:
      The files that could be read, and their regions, in the same order.
    """
    import tqdm

    from visem_tf.images.decode import ImageError
    from visem_tf.images.load import load_images
    from visem_tf.regions.extractor import Regions
    from visem_tf.regions.image_cache import ImageCache, image_cache_folder, image_key
    from visem_tf.runtime.working_copy import working_copy

    settings = run.config.regions
    folder = image_cache_folder(as_path(run.config.cache_dir), settings, run.run.tuned_cnn)
    store = ImageCache(working_copy(folder))
    names: dict[AnyPath, bytes] = {}
    for path in paths:
        try:
            names[path] = image_key(path)
        except OSError as error:
            failures.append(ImageError(str(path), f"cannot be read ({reason_of(error)})"))
    missing = [path for path, name in names.items() if name not in store]
    kept_names: list[bytes] = []
    kept: list[Regions] = []

    def keep() -> None:
        if kept:
            parts = zip(*kept, strict=True)
            store.add(kept_names, Regions(*(np.concatenate(part) for part in parts)))
            kept_names.clear()
            kept.clear()

    with tqdm.tqdm(
        total=len(missing), desc="regions", unit=" pictures", disable=None, leave=False, delay=1
    ) as bar:
        try:
            for batch in load_images(missing, settings, settings.batch_size, failures):
                kept.append(
                    Regions(*(part.numpy() for part in run.extractor.compiled(batch.pixels)))
                )
                kept_names.extend(names[path] for path in batch.paths)
                if len(kept_names) >= _STORED_AT_A_TIME:
                    keep()
                bar.update(len(batch.paths))
        finally:  # an interrupted search goes on where it was
            keep()
    readable = [path for path, name in names.items() if name in store]
    if not readable:
        return [], Regions(*(np.zeros(0) for _ in Regions._fields))
    return readable, store.gather([names[path] for path in readable])


def rank(
    grounder: "Grounder",
    queries: Sequence["Query"],
    paths: Sequence[AnyPath],
    regions: "Regions",
    top: int,
) -> list[dict[str, Any]]:
    """Ranks pictures by each sentence.

    Args:
      grounder: Scores and grounds.
      queries: The sentences.
      paths: I pictures.
      regions: Of the I pictures.
      top: How many to return for each sentence.

    Returns:
      A result a sentence, in JSON's types: "sentence", "unknown_words", "searched" and "pictures",
      the best first, each with "image", "rank", "score", "words" and "segments" as of
      `visem_tf.runs.grounding.grounding_as_json`.
    """
    from visem_tf.runs.grounding import grounding_as_json

    embeddings, mask = grounder.embed(regions.region_features), regions.region_mask
    scores = grounder.scores(embeddings, mask, queries)
    order = np.argsort(-scores, axis=0, kind="stable")[:top]
    results = []
    for column, query in enumerate(queries):
        best = order[:, column]
        found = grounder.ground(
            embeddings[best], mask[best], regions.boxes[best], [query] * len(best)
        )
        pictures = [
            {
                "image": str(paths[position]),
                "rank": row + 1,
                "score": round(float(scores[position, column]), 4),
                **grounding_as_json(query, found, row),
            }
            for row, position in enumerate(best.tolist())
        ]
        results.append(
            {
                "sentence": query.text,
                "unknown_words": query.unknown,
                "searched": len(paths),
                "pictures": pictures,
            }
        )
    return results


def _print(results: Sequence[dict[str, Any]]) -> None:
    from visem_tf.report.drawing import place_in_words
    from visem_tf.runtime.terminal import print_line, print_table

    for number, result in enumerate(results):
        if number:
            print()
        count = result["searched"]
        print_line(f"“{result['sentence']}” in {count:,} picture{'s' * (count != 1)}", style="bold")
        rows = []
        for picture in result["pictures"]:
            looks = [
                f"{segment['text']} → {place_in_words(segment['box'])}"
                for segment in picture["segments"]
            ]
            rows.append(
                [
                    str(picture["rank"]),
                    f"{picture['score']:.2f}",
                    picture["image"],
                    "; ".join(looks),
                ]
            )
        print_table(["#>", "score>", "picture", "which words look where"], rows, indent=2)


def _draw(folder: AnyPath, results: Sequence[dict[str, Any]]) -> None:
    import io

    from PIL import Image

    from visem_tf.images.decode import read_image
    from visem_tf.report.drawing import as_jpeg, draw_regions
    from visem_tf.runtime.files import write_atomically

    taken: set[str] = set()
    for number, result in enumerate(results, start=1):
        before = f"{number}-" if len(results) > 1 else ""
        for picture in result["pictures"]:
            path = as_path(picture["image"])
            drawn = draw_regions(
                Image.open(io.BytesIO(read_image(path))),
                np.array([segment["box"] for segment in picture["segments"]]).reshape(-1, 4),
                [segment["text"] for segment in picture["segments"]],
                result["sentence"],
            )
            name = unused_name(f"{before}{picture['rank']:02d}-{path.stem}", ".jpg", taken)
            write_atomically(folder / name, as_jpeg(drawn))


if __name__ == "__main__":
    run_command(main)
