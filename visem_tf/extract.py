"""The stage `features` on many machines: describes all pictures by their regions, through Beam.

    python -m visem_tf.extract --dataset flickr8k --data-dir Flickr8k --cache-dir cache --beam="…"

What it writes is the cache that `fit` and all other commands read: with the same data,
`--cache-dir` and `--regions.…`, `fit` finds the stage's work done. Needs the extra `beam`. See
docs/distributed.md.
"""

import shlex
from collections.abc import Sequence

from visem_tf.cli import make_parser, parse_arguments, run_command
from visem_tf.runtime.startup import start_tensorflow


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the pipeline that the command line asks for.

    Args:
      argv: The arguments; None takes those of this process.

    Raises:
      UserError: A mistake of the user.
    """
    parser = make_parser("extract", "Describes all pictures on many machines, into the cache.")
    parser.add_argument(
        "--beam",
        default="",
        metavar="ARGUMENTS",
        help="Apache Beam's own arguments, as in --beam='--runner=FlinkRunner "
        "--flink_master=HOST:8081'; by default its local runner",
    )
    config, options = parse_arguments(parser, argv)
    start_tensorflow()
    from visem_tf.stages.beam_features import run_pipeline

    described = run_pipeline(config, shlex.split(options.beam))
    for split, count in described.items():
        print(f"{split}: {count} pictures described" if count else f"{split}: nothing to do")


if __name__ == "__main__":
    run_command(main)
