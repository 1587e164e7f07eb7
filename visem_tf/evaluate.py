"""Evaluates a finished run again: ranking, full-frame descriptions, regions.

python -m visem_tf.evaluate --run-dir runs/f8k --split test
"""

from collections.abc import Sequence

from visem_tf.cli import make_parser, parse_arguments, run_command
from visem_tf.errors import UserError
from visem_tf.quiet import start_tensorflow


def main(argv: Sequence[str] | None = None) -> None:
    """Rewrites `metrics.json` and the captions of the run that the command line names.

    Args:
      argv: The arguments; None takes those of this process.

    Raises:
      UserError: A mistake of the user, or a run whose models are not trained yet.
    """
    parser = make_parser("evaluate", "Evaluates a finished run and rewrites its metrics.json.")
    parser.add_argument(
        "--split",
        default="",
        metavar="SPLIT",
        help="train, val or test; short for --evaluate.split (default: test)",
    )
    config, options = parse_arguments(parser, argv, finished_run=True)
    if options.split:
        config = config.updated({"evaluate.split": options.split})
    config = config.updated({"stages": ["evaluate"]})
    start_tensorflow()
    from visem_tf.report.summary import closing_summary
    from visem_tf.stages import run_stages
    from visem_tf.stages.opening import open_run
    from visem_tf.stages.run_directory import RunDirectory

    run = RunDirectory(config.run_dir)
    for stage in ("features", "align", "generate"):
        if not run.is_done(stage):
            raise UserError(
                f"stage {stage} is not finished in {run.path}; run python -m visem_tf.fit first"
            )
    context = open_run(config)
    run_stages(context, again=["evaluate"])
    print(closing_summary(context))


if __name__ == "__main__":
    run_command(main)
