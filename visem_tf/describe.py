"""Describes pictures of the user's own, and their regions, with a finished run.

python -m visem_tf.describe --run-dir runs/f8k photo.jpg --picture described/
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from visem_tf.cli import make_parser, parse_arguments, run_command
from visem_tf.errors import UserError
from visem_tf.quiet import start_tensorflow

_REGIONS_SHOWN = 6


def main(argv: Sequence[str] | None = None) -> None:
    """Describes the pictures that the command line names.

    Args:
      argv: The arguments; None takes those of this process.

    Raises:
      UserError: A mistake of the user; pictures before the mistaken one have been described.
    """
    parser = make_parser(
        "describe", "Describes pictures and their regions with a finished run.", arguments="IMAGE…"
    )
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="a picture file")
    parser.add_argument("--json", default="", metavar="FILE", help="write all descriptions here")
    parser.add_argument(
        "--picture",
        default="",
        metavar="DIR",
        help="write each picture with its boxes and their texts into this folder",
    )
    config, options = parse_arguments(parser, argv, finished_run=True)
    paths = [Path(image).expanduser() for image in options.images]
    for path in paths:
        if not path.is_file():
            raise UserError(f"there is no picture {path}")
    start_tensorflow()
    from visem_tf.files import write_atomically
    from visem_tf.regions.pictures import PictureError, read_picture
    from visem_tf.trained import TrainedRun

    run = TrainedRun(config.run_dir, config)
    results = []
    failures = []
    for path in paths:
        try:
            encoded = read_picture(path)
        except PictureError as error:
            failures.append(f"{path}: {error}")
            continue
        description = run.describe(run.extractor.extract([encoded]))[0]
        shown = chosen_regions(description)
        _print(path, description, shown)
        results.append(as_json(path, description))
        if options.picture:
            _draw(Path(options.picture).expanduser(), path, encoded, description, shown)
    if options.json:
        text = json.dumps(results, indent=1, ensure_ascii=False) + "\n"
        write_atomically(Path(options.json).expanduser(), text)
    if failures:
        for failure in failures[:-1]:
            print(f"visem_tf: warning: cannot read {failure}", file=sys.stderr)
        raise UserError(f"cannot read {failures[-1]}")


def chosen_regions(description: Any) -> list[int]:
    """The regions to show: proposed ones with the surest texts, each text once.

    Args:
      description: A `visem_tf.trained.Description`.

    Returns:
      Positions, the surest first.
    """
    lengths = [len(text.split()) + 1 for text in description.region_captions]
    surety = description.region_log_probs / lengths
    order = sorted(range(1, len(surety)), key=lambda region: -surety[region])
    chosen: list[int] = []
    for region in order:
        texts = [description.region_captions[other] for other in chosen]
        if description.region_captions[region] and description.region_captions[region] not in texts:
            chosen.append(region)
    return chosen[:_REGIONS_SHOWN]


def as_json(path: Path, description: Any) -> dict[str, Any]:
    """A description in JSON's types; boxes are `rel_yxyx`."""
    regions = [
        {
            "box": [round(float(edge), 4) for edge in box],
            "caption": caption,
            "log_prob": round(float(log_prob), 4),
            "region_score": round(float(score), 4),
        }
        for box, caption, log_prob, score in zip(
            description.boxes,
            description.region_captions,
            description.region_log_probs,
            description.region_scores,
            strict=True,
        )
    ]
    return {
        "image": str(path),
        "caption": description.caption,
        "log_prob": round(description.log_prob, 4),
        "regions": regions,
    }


def _print(path: Path, description: Any, shown: list[int]) -> None:
    print(f"{path}: {description.caption}")
    for region in shown:
        box = " ".join(f"{edge:.2f}" for edge in description.boxes[region])
        print(f"    [{box}] {description.region_captions[region]}")


def _draw(folder: Path, path: Path, encoded: bytes, description: Any, shown: list[int]) -> None:
    import io

    from PIL import Image

    from visem_tf.files import write_atomically
    from visem_tf.report.pictures import as_jpeg, draw_regions

    picture = draw_regions(
        Image.open(io.BytesIO(encoded)),
        description.boxes[shown],
        [description.region_captions[region] for region in shown],
        description.caption,
    )
    write_atomically(folder / f"{path.stem}-described.jpg", as_jpeg(picture))


if __name__ == "__main__":
    run_command(main)
