"""The stage `features` on many machines: computes the region features of all images by Beam.

    python -m visem_tf.extract --dataset flickr8k --data-dir Flickr8k --cache-dir cache --beam="…"

The result is the cache that `fit` and all other commands read: with the same data, `--cache-dir`
and `--regions.…`, `fit` finds the stage finished. A proposer of the run's own (`--propose.epochs`)
must have been trained before, with the same `--run-dir`. Needs the extra `beam`; see
docs/distributed.md.
"""

import shlex
from collections.abc import Sequence

from visem_tf.cli import parse_arguments, run_command
from visem_tf.config.options import make_parser, option
from visem_tf.runtime.startup import start_tensorflow


class Options:
    """Options of the command."""

    beam = option("ARGUMENTS")
    """Arguments of Apache Beam, as in --beam='--runner=FlinkRunner --flink_master=HOST:8081'; by
    default its local runner."""


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the pipeline on the data set that the command line names.

    Args:
        argv: Arguments; None takes those of this process.

    Raises:
        UserError: A mistake of the user.
    """
    description = "Computes region features on many machines, into the cache."
    parser = make_parser("extract", description, Options)
    config, options = parse_arguments(parser, argv)
    start_tensorflow()
    from visem_tf.stages.beam_features import run_pipeline

    extracted = run_pipeline(config, shlex.split(options.beam))
    for split, count in extracted.items():
        print(f"{split}: features of {count} images" if count else f"{split}: nothing to do")


if __name__ == "__main__":
    run_command(main)
