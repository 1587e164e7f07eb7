"""Reads a data set once and lists everything that is wrong with it.

    python -m visem_tf.validate --dataset flickr8k --data-dir Flickr8k

Ends with status 0 where nothing is wrong, with 1 where something is, and with 2 where the command
itself is mistaken. Nothing is written, but for data sets that are drawn or fetched, which are
prepared in the cache folder as for `fit`.
"""

import dataclasses
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from visem_tf.cli import make_parser, parse_arguments, run_command
from visem_tf.runtime.startup import start_tensorflow

if TYPE_CHECKING:
    from visem_tf.datasets.validation import Report


def main(argv: Sequence[str] | None = None) -> None:
    """Checks the data set that the command line names.

    Args:
      argv: The arguments; None takes those of this process.

    Raises:
      UserError: A mistake in the command: no such data set, or no such folder.
      SystemExit: With status 1, where something is wrong with the data.
    """
    parser = make_parser("validate", "Reads a data set once and lists everything wrong with it.")
    parser.add_argument("--json", default="", metavar="FILE", help="write all of it here, too")
    config, options = parse_arguments(parser, argv)
    start_tensorflow()
    from visem_tf.datasets.validation import check_dataset
    from visem_tf.runtime.files import write_atomically
    from visem_tf.runtime.storage import as_path

    name, _, variant = config.dataset.partition("/")
    report = check_dataset(
        name,
        cache_dir=config.cache_dir,
        data_dir=config.data_dir or None,
        config=variant or None,
        options=config.data,
        min_count=config.text.min_count,
    )
    print(as_text(report, config.text.min_count))
    if options.json:
        text = json.dumps(dataclasses.asdict(report), indent=1, ensure_ascii=False) + "\n"
        write_atomically(as_path(options.json), text.encode("utf-8", "replace"))
    if report.problems:
        raise SystemExit(1)


def as_text(report: "Report", min_count: int) -> str:
    """What is printed.

    Args:
      report: What was found.
      min_count: How often a word of the vocabulary stands in training, at least.

    Returns:
      Problems, remarks and sums, in lines.
    """
    lines = [f"problem: {line}" for line in report.problems]
    lines += [f"remark: {line}" for line in report.remarks]
    if report.splits:
        lines.append(
            "split  pictures  sentences  a picture     words        boxes  out of vocabulary"
        )
    for name, split in report.splits.items():
        lines.append(
            f"{name:<6} {split.pictures:>8,}  {split.sentences:>9,}  "
            f"{_spread(split.sentences_of_a_picture):<12}  {_spread(split.words_of_a_sentence):<11}"
            f"  {split.phrases:>5,}  {split.out_of_vocabulary_percent:.2f} %"
        )
    if report.width and report.height:
        lines.append(
            f"pictures: width {_spread(report.width)}, height {_spread(report.height)} "
            "(least, median, most)"
        )
    if report.splits:
        lines.append(
            f"vocabulary: {report.vocabulary_size:,} of {report.distinct_words:,} words stand "
            f"{min_count} times or more in train"
        )
    if report.seconds:
        lines.append(
            f"read {report.pictures_read:,} pictures in {report.seconds:.1f} s, "
            f"{report.pictures_read / report.seconds:,.0f} a second"
        )
    count = len(report.problems)
    lines.append("nothing is wrong" if not count else f"{count} problem{'s' if count > 1 else ''}")
    return "\n".join(lines)


def _spread(values: tuple[float, float, float]) -> str:
    return ", ".join(f"{value:g}" for value in values)


if __name__ == "__main__":
    run_command(main)
