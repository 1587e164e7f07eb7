"""Opens a run for its stages: devices, run directory and data set."""

import secrets

import tensorflow as tf

from visem_tf.config import Config
from visem_tf.config.recorded import READOUT_FIELDS, SEARCH_FIELDS, affects_training
from visem_tf.datasets.caption_dataset import CaptionDataset
from visem_tf.datasets.loading import load_configured
from visem_tf.datasets.recognising import recognised
from visem_tf.runs.context import Context
from visem_tf.runs.run_directory import RunDirectory, versions
from visem_tf.runs.starting import copy_parts, parts_to_copy
from visem_tf.runtime.devices import make_strategy, set_seed, use_threads
from visem_tf.runtime.files import write_atomically
from visem_tf.runtime.startup import run_first_operation
from visem_tf.runtime.streams import warn
from visem_tf.runtime.workers import (
    barrier,
    check_workers_agree,
    num_workers,
    report_training_errors,
    worker_index,
)

_PROBLEMS_SHOWN = 10


def open_run(config: Config) -> Context:
    """Opens the run directory of a configuration and reads its data.

    The configuration is compared with the recorded one before anything else is read or written. A
    new run is recorded when its data have been read.

    Args:
        config: Resolved configuration.

    Returns:
        The context of the stages.

    Raises:
        UserError: The run directory, the data or the devices cannot be used, or workers differ in
            configuration, versions or data.
    """
    config = recognised(config)
    use_threads(config.compute.threads)
    strategy = make_strategy(config.distribute)
    with report_training_errors(strategy):
        return _open(config, strategy)


def _open(config: Config, strategy: tf.distribute.Strategy) -> Context:
    run, is_chief = RunDirectory(config.run_dir), worker_index(strategy) == 0
    if is_chief and run.config() is not None:
        run.claim(config)
    # Later calls need no part of the model that the run started from.
    parts = parts_to_copy(config) if is_chief and not run.has_data() else {}
    run_first_operation()
    set_seed(config.seed)
    data = None
    for chiefs_turn in (True, False):  # the chief prepares the files that all workers read
        if is_chief == chiefs_turn:
            data = load_configured(config)
        barrier(strategy)
    assert data is not None
    if is_chief:
        run.claim(config)  # if it is new, not before its data have been read
        copy_parts(parts, run)
    if num_workers(strategy) > 1:
        _check_workers(config, strategy, run, data)
    if is_chief:
        run.claim_data(data.fingerprint)
        problems = data.problems[:_PROBLEMS_SHOWN]
        if hidden := len(data.problems) - len(problems):
            problems.append(f"… and {hidden} more problems in the data")
        for problem in problems:
            warn(problem)
    return Context(config, run, data, strategy)


def _check_workers(
    config: Config, strategy: tf.distribute.Strategy, run: RunDirectory, data: CaptionDataset
) -> None:
    """Checks that all workers train the same model in the same folder."""
    file = run / "workers.txt"
    if worker_index(strategy) == 0:
        write_atomically(file, secrets.token_hex(8) + "\n")
    barrier(strategy)
    # Training on CIDEr searches for sentences, and self-training for boxes of phrases.
    compared = {name for name, _ in config.flat() if affects_training(name)}
    compared |= {*SEARCH_FIELDS, *READOUT_FIELDS}
    seen = file.read_text(encoding="utf-8") if file.exists() else ""
    check_workers_agree(
        strategy,
        {
            **{name: str(value) for name, value in config.flat() if name in compared},
            **{f"the version of {name}": str(found) for name, found in versions().items()},
            "the data set's files": data.fingerprint,
            "--run-dir (all workers must see one folder)": seen,
            "--stages": str(config.stages),
        },
    )
