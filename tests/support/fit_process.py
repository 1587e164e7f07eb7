"""Processes that run `visem_tf.fit`, for tests of several workers and of runs that are killed.

Most of them are forked from a process that has imported TensorFlow without starting it, because the
import takes longer than the training of tiny models.
"""

import functools
import multiprocessing
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path

from small_cnn import small_cnn

_STAGES = ("features", "align", "finetune", "joint", "generate", "self_critical")
multiprocessing.set_forkserver_preload(
    ["pytest", "visem_tf.fit", *(f"visem_tf.stages.{stage}" for stage in _STAGES)]
)
_PATIENCE = 900


@dataclass(frozen=True)
class Work:
    """What a process does.

    Attributes:
        commands: Arguments of `visem_tf.fit`; it runs once with each of them, until one fails.
        environment: Variables of the environment to set.
        killed_in: Folder of a training below `checkpoints`: the process kills itself after the
            first step of the second epoch of this training. None if it is not killed.
        eager: Whether functions run without tracing.
    """

    commands: Sequence[Sequence[object]]
    environment: Mapping[str, str] = field(default_factory=dict)
    killed_in: str | None = None
    eager: bool = False


class FitProcess:
    """A process that does some work; its output goes to a file.

    Args:
        work: What it does.
        output: File of its output, which must not exist.
        method: "forkserver" for a forked process, "spawn" for one that starts, and ends, as a
            command does.
    """

    def __init__(self, work: Work, output: Path, method: str = "forkserver") -> None:
        self.output = output
        context = multiprocessing.get_context(method)
        self.process: BaseProcess = context.Process(target=_run, args=(work, output), daemon=True)
        self.process.start()

    def wait(self) -> tuple[int, str]:
        """Returns the exit status and the output; the status of a killed process is negative."""
        self.process.join(_PATIENCE)
        self.process.kill()
        self.process.join()
        assert self.process.exitcode is not None
        return self.process.exitcode, self.output.read_text(encoding="utf-8")


def _run(work: Work, output: Path) -> None:
    os.environ.update(work.environment)
    file = os.open(output, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(file, stream)
    sys.stdout.reconfigure(line_buffering=True)

    import tensorflow as tf

    from visem_tf import fit
    from visem_tf.cli import run_command
    from visem_tf.runs import opening

    tf.config.run_functions_eagerly(work.eager)
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})  # saves seconds
    # A process can join the other workers once.
    opening.make_strategy = functools.cache(opening.make_strategy)
    if work.killed_in:
        _kill_in(work.killed_in)
    with small_cnn():
        for command in work.commands:
            try:
                run_command(functools.partial(fit.main, [str(part) for part in command]))
            except SystemExit as end:
                if end.code:
                    raise


def _kill_in(folder: str) -> None:
    """Kills this process after the first step of the second epoch of a training."""
    from visem_tf.training.resumable import ResumableTraining

    original = ResumableTraining.on_train_batch_end

    def on_train_batch_end(self, batch, logs=None) -> None:
        original(self, batch, logs)
        if self.folder.as_posix().endswith(f"checkpoints/{folder}") and len(self.history) == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    ResumableTraining.on_train_batch_end = on_train_batch_end
