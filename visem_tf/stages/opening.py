"""What a command needs before the first stage: devices, data and a run directory."""

import sys

from visem_tf.config import Config
from visem_tf.datasets.loading import load_configured
from visem_tf.distribution import make_strategy, set_seed
from visem_tf.quiet import first_operation
from visem_tf.stages import Context, RunDirectory


def open_run(config: Config) -> Context:
    """Opens the run directory of a configuration and reads its data.

    The configuration is checked against the run directory's before anything is read or written.

    Args:
      config: The resolved configuration.

    Raises:
      UserError: The run directory, the data or the devices cannot be used.
    """
    run = RunDirectory(config.run_dir)
    run.claim(config)
    strategy = make_strategy(config.distribute)
    first_operation()
    set_seed(config.seed)
    data = load_configured(config)
    run.claim_data(data.fingerprint)
    for problem in data.problems[:_PROBLEMS_SHOWN]:
        print(f"visem_tf: warning: {problem}", file=sys.stderr)
    if len(data.problems) > _PROBLEMS_SHOWN:
        hidden = len(data.problems) - _PROBLEMS_SHOWN
        print(f"visem_tf: warning: … and {hidden} more problems in the data", file=sys.stderr)
    return Context(config, run, data, strategy)


_PROBLEMS_SHOWN = 10
