"""Describes pictures of the user's own, and their regions, with a finished run.

python -m visem_tf.describe --run-dir runs/f8k photo.jpg holidays/ --picture described/
"""

import contextlib
import io
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from visem_tf.cli import make_parser, parse_arguments, run_command
from visem_tf.config import Config
from visem_tf.errors import UserError
from visem_tf.picture_files import find_pictures, free_name
from visem_tf.quiet import first_operation, start_tensorflow
from visem_tf.snippets import box_as_json

if TYPE_CHECKING:
    from visem_tf.looking import Looker, Query
    from visem_tf.own_pictures import OwnPictures
    from visem_tf.regions.extractor import Regions
    from visem_tf.regions.pictures import PictureError
    from visem_tf.trained import Description, TrainedRun


_FUNCTION_WORDS = {
    *("a", "an", "the", "its", "his", "her", "their", "and", "or", "is", "are", "of", "in", "on"),
    *("at", "by", "to", "into", "onto", "with", "through", "from"),
}


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
    paths = find_pictures(options.images)
    start_tensorflow()
    first_operation()
    from visem_tf.looking import Looker, warn_of
    from visem_tf.own_pictures import complain
    from visem_tf.trained import TrainedRun

    run = TrainedRun(config.run_dir, config)
    if options.boxes:
        _ = run.region_generator  # a run without one cannot describe boxes
    elif not run.has("generate/regions"):
        print(
            "visem_tf: warning: this run has no generator of region descriptions; the captions "
            "of whole pictures are all there is",
            file=sys.stderr,
        )
    looker = query = None
    if options.sentence:
        looker = Looker(run)
        query = looker.read(options.sentence)
        warn_of([query])
    failures: list[PictureError] = []
    writer = _Writer(
        Path(options.picture).expanduser() if options.picture else None,
        None if options.boxes else options.top,
    )
    try:
        for pictures, regions in _regions(run, config, paths, options, failures):
            descriptions = run.describe(regions)
            looks: list[dict[str, Any] | None] = [None] * len(descriptions)
            if looker and query:
                looks = _looks(looker, query, regions)
            for each in zip(pictures.paths, pictures.encoded, descriptions, looks, strict=True):
                writer.take(*each)
    finally:  # what was described before a mistake, or Ctrl-C, is not lost
        if options.json:
            write_json(Path(options.json).expanduser(), writer.results)
    complain(failures)


def chosen_regions(description: "Description", count: int = 6) -> list[int]:
    """The regions to show: proposed ones with the best texts, each text once.

    The better text is the one that fits its region better; without an alignment model, the one
    whose words the generator is surer of. Texts of nothing but "a", "in the" and the like are left
    out.

    Args:
      description: Of a picture.
      count: How many, at most.

    Returns:
      Positions, the best first.
    """
    worth = description.region_fits
    if worth is None:
        worth = word_probabilities(description)
    by_text: dict[str, int] = {}
    for region in np.argsort(-worth, kind="stable").tolist():
        if region > 0 and set(description.region_captions[region].split()) - _FUNCTION_WORDS:
            by_text.setdefault(description.region_captions[region], region)
    return list(by_text.values())[:count]


def word_probabilities(description: "Description") -> np.ndarray:
    """How sure the texts of the regions are: the geometric mean of the probability of a word.

    Args:
      description: Of a picture with R regions.

    Returns:
      float [R], 0 to 1.
    """
    lengths = np.array([len(text.split()) + 1 for text in description.region_captions])
    return np.exp(description.region_log_probs / lengths)


def as_json(path: Path, description: "Description") -> dict[str, Any]:
    """A description in JSON's types; boxes are `rel_yxyx`."""
    fits = description.region_fits
    if fits is None:
        fits = np.full(len(description.boxes), None)
    regions = [
        {
            "box": box_as_json(box),
            "caption": caption,
            "log_prob": round(float(log_prob), 4),
            "region_score": round(float(score), 4),
            "fit": None if fit is None else round(float(fit), 4),
        }
        for box, caption, log_prob, score, fit in zip(
            description.boxes,
            description.region_captions,
            description.region_log_probs,
            description.region_scores,
            fits,
            strict=True,
        )
    ]
    return {
        "image": str(path),
        "caption": description.caption,
        "log_prob": round(description.log_prob, 4),
        "regions": regions,
    }


def write_json(path: Path, content: Any) -> None:
    """Writes JSON, whole or not at all; bytes of file names that are no text stand escaped."""
    from visem_tf.files import write_atomically

    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    write_atomically(path, text.encode("utf-8", "backslashreplace"))


def _regions(
    run: "TrainedRun",
    config: Config,
    paths: Sequence[Path],
    options: Any,
    failures: list["PictureError"],
) -> Iterator[tuple["OwnPictures", "Regions"]]:
    """Yields batches of readable pictures with their regions, proposed or given."""
    import tqdm
    from PIL import Image

    from visem_tf.own_pictures import read_pictures
    from visem_tf.regions.extractor import RegionExtractor, Regions
    from visem_tf.regions.given_boxes import BoxDescriber, read_boxes

    settings = config.regions
    given = None
    if options.boxes:
        given = read_boxes(Path(options.boxes).expanduser(), options.box_format)
        if not any(given.has(path) for path in paths):
            raise UserError(
                f"{options.boxes} has no boxes for {paths[0]}; it names pictures by file"
            )
        describer = BoxDescriber(RegionExtractor(settings.updated({"proposer": "none"})))
    batches = read_pictures(
        paths, settings.picture_size, 1 if given else settings.batch_size, failures
    )
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


def _looks(looker: "Looker", query: "Query", regions: "Regions") -> list[dict[str, Any] | None]:
    """Where the words of a sentence look in each picture of a batch."""
    from visem_tf.looking import looks_as_json

    embeddings, mask = looker.embed(regions), np.asarray(regions.region_mask)
    looks = looker.look(embeddings, mask, query)
    scores = looker.scores(embeddings, mask, query)
    return [
        {
            "sentence": query.text,
            "score": round(float(score), 4),
            **looks_as_json(query, looks.regions[row], looks.similarities[row], regions.boxes[row]),
        }
        for row, score in enumerate(scores)
    ]


class _Writer:
    """Shows descriptions as they come.

    Args:
      folder: For drawn pictures; None draws none.
      top: Regions to show; None shows all.
    """

    def __init__(self, folder: Path | None, top: int | None) -> None:
        self.folder = folder
        self.top = top
        self.results: list[dict[str, Any]] = []
        self._taken: set[str] = set()

    def take(
        self, path: Path, encoded: bytes, description: "Description", looks: dict[str, Any] | None
    ) -> None:
        """Prints, draws and remembers the description of a picture."""
        if self.top is None:
            shown = list(range(1, len(description.boxes)))
        else:
            shown = chosen_regions(description, self.top)
        self._print(path, description, shown, looks)
        result = as_json(path, description)
        self.results.append(result if looks is None else {**result, "looks": looks})
        if self.folder:
            texts = [description.region_captions[region] for region in shown]
            name = free_name(f"{path.stem}-described", ".jpg", self._taken)
            self._draw(name, encoded, description.boxes[shown], texts, description.caption)
            if looks is not None:
                segments = looks["segments"]
                boxes = np.array([segment["box"] for segment in segments]).reshape(-1, 4)
                texts = [segment["text"] for segment in segments]
                name = free_name(f"{path.stem}-sentence", ".jpg", self._taken)
                self._draw(name, encoded, boxes, texts, looks["sentence"])

    def _print(
        self,
        path: Path,
        description: "Description",
        shown: list[int],
        looks: dict[str, Any] | None,
    ) -> None:
        from visem_tf.report.pictures import place_in_words
        from visem_tf.terminal import print_line, print_table

        if self.results:
            print()
        print_line(f"{path}: {description.caption or '(nothing)'}", style="bold")
        sureness = word_probabilities(description)
        rows = [
            [
                str(number),
                f"{100 * sureness[region]:.0f} %",
                description.region_captions[region] or "(nothing)",
                place_in_words(description.boxes[region]),
                " ".join(f"{edge:.2f}" for edge in description.boxes[region]),
            ]
            for number, region in enumerate(shown, start=1)
        ]
        if rows:
            columns = ["#>", "sure>", "region", "where", "top left bottom right"]
            print_table(columns, rows, indent=2)
        if looks is not None:
            print_line(f"“{looks['sentence']}”, score {looks['score']:.2f}", indent=2)
            rows = [
                [segment["text"], f"{segment['score']:.2f}", place_in_words(segment["box"])]
                for segment in looks["segments"]
            ]
            print_table(["words", "score>", "look at"], rows, indent=2)

    def _draw(
        self, name: str, encoded: bytes, boxes: np.ndarray, texts: list[str], caption: str
    ) -> None:
        from PIL import Image

        from visem_tf.files import write_atomically
        from visem_tf.report.pictures import as_jpeg, draw_regions

        assert self.folder
        picture = draw_regions(Image.open(io.BytesIO(encoded)), boxes, texts, caption)
        write_atomically(self.folder / name, as_jpeg(picture))


if __name__ == "__main__":
    run_command(main)
