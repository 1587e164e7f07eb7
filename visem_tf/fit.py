"""Trains and evaluates all models, in stages; see `visem_tf.stages`.

    python -m visem_tf.fit --dataset flickr8k --data-dir Flickr8k --preset paper --run-dir runs/f8k

The same command resumes an interrupted run.
"""

from collections.abc import Sequence

from visem_tf.cli import parse_arguments, run_command
from visem_tf.config.options import make_parser
from visem_tf.runtime.startup import start_tensorflow
from visem_tf.runtime.streams import warn


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the stages that the command line names.

    Args:
        argv: Arguments; None takes those of this process.

    Raises:
        UserError: A mistake of the user.
    """
    parser = make_parser("fit", "Learns alignments and descriptions from images with sentences.")
    config, _ = parse_arguments(parser, argv)
    start_tensorflow()
    from visem_tf.datasets.coverage import coverage
    from visem_tf.runs.checkpoints import read_or_build_vocabulary
    from visem_tf.runs.opening import open_run
    from visem_tf.stages import check_stages, run_stages
    from visem_tf.stages.closing_summary import closing_summary

    check_stages(config)
    context = open_run(config)
    vocabulary = read_or_build_vocabulary(context)
    sentences = context.data.splits["train"].sentences
    if context.is_chief:
        found = coverage(vocabulary, sentences, config.text.max_words)
        print(found)
        for warning in found.warnings():
            warn(warning)
    run_stages(context)
    if context.is_chief:
        print(closing_summary(context))


if __name__ == "__main__":
    run_command(main)
