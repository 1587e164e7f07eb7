"""Reads a data set once and lists everything that is wrong with it.

    python -m visem_tf.validate --dataset flickr8k --data-dir Flickr8k

The exit status is 0 if nothing is wrong, 1 if something is wrong with the data, and 2 if the
command itself is mistaken. Nothing is written, except that data sets that are drawn or downloaded
are prepared in the cache folder, as for `fit`.
"""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from visem_tf.cli import parse_arguments, run_command
from visem_tf.config.options import make_parser, option
from visem_tf.runtime.outputs import output_file
from visem_tf.runtime.startup import start_tensorflow

if TYPE_CHECKING:
    from visem_tf.datasets.validation import Report


class Options:
    """Options of the command."""

    json = option("FILE", type=output_file)
    """Also write the report here."""


def main(argv: Sequence[str] | None = None) -> None:
    """Checks the data set that the command line names.

    Args:
        argv: Arguments; None takes those of this process.

    Raises:
        UserError: A mistake in the command: no such data set, or no such folder.
        SystemExit: Something is wrong with the data; the status is 1.
    """
    description = "Reads a data set once and lists everything wrong with it."
    parser = make_parser("validate", description, Options)
    config, options = parse_arguments(parser, argv)
    start_tensorflow()
    from visem_tf.datasets.recognising import recognised
    from visem_tf.datasets.validation import check_dataset
    from visem_tf.runtime.json_files import write_json

    config = recognised(config)
    report = check_dataset(config)
    print_report(report, config.text.min_count)
    if options.json:
        write_json(options.json, dataclasses.asdict(report))
    if report.problems:
        raise SystemExit(1)


def print_report(report: "Report", min_count: int) -> None:
    """Prints problems, remarks and statistics.

    Args:
        report: Result of the check.
        min_count: Minimum number of occurrences of a word in the training split.
    """
    from visem_tf.runtime.streams import without_controls
    from visem_tf.runtime.terminal import print_table

    for kind in ("problem", "warning", "remark"):
        for line in getattr(report, f"{kind}s"):
            print(f"{kind}: {without_controls(line)}")
    if report.splits:
        columns = [
            "split",
            "images>",
            "sentences>",
            "per image",
            "words",
            "boxes>",
            "unknown>",
            "cut>",
        ]
        rows = [
            [
                name,
                f"{split.pictures:,}",
                f"{split.sentences:,}",
                _spread(split.sentences_of_a_picture),
                _spread(split.words_of_a_sentence),
                f"{split.phrases:,}",
                f"{split.out_of_vocabulary_percent:.2f} %",
                f"{split.cut_percent:.2f} %",
            ]
            for name, split in report.splits.items()
        ]
        print_table(columns, rows)
    if report.width and report.height:
        print(
            f"images: width {_spread(report.width)}, height {_spread(report.height)} "
            "(minimum, median, maximum)"
        )
    if report.splits:
        print(
            f"vocabulary: {report.vocabulary_size:,} of {report.distinct_words:,} words occur "
            f"{min_count} times or more in train"
        )
    if report.seconds:
        print(
            f"read {report.pictures_read:,} images in {report.seconds:.1f} s, "
            f"{report.pictures_read / report.seconds:,.0f} a second"
        )
    count = len(report.problems)
    if not count and report.warnings:
        print("no problems, but training makes little sense; see the warnings")
    else:
        print("nothing is wrong" if not count else f"{count} problem{'s' * (count > 1)}")


def _spread(values: tuple[float, float, float]) -> str:
    return ", ".join(f"{value:g}" for value in values)


if __name__ == "__main__":
    run_command(main)
