"""Stages of a run: propose, features, align, infer, generate, evaluate, report, export.

A stage is the module of this package with its name. Its `run(context) -> dict` works in the run
directory and returns the metrics to keep. With several workers only the chief runs a stage, unless
the module sets `ALL_WORKERS = True`. A module may define `is_outdated(context) -> bool`, for
results that can be lost or depend on settings that may change: the stage runs again if a worker
returns True. Its `complete(context)`, if it has one, adds what a finished stage lacks.
"""

import importlib
import time
from collections.abc import Callable, Collection
from types import ModuleType

import numpy as np

from visem_tf.config import STAGES, Config
from visem_tf.errors import UserError
from visem_tf.runs.context import Context
from visem_tf.runs.run_directory import RunDirectory
from visem_tf.runtime.storage import as_path
from visem_tf.runtime.workers import (
    any_worker,
    barrier,
    broadcast_from_chief,
    report_training_errors,
)

_MEMORY_ADVICE = {
    "propose": "try a smaller --propose.batch_size",
    "features": "try a smaller --regions.batch_size",
    "align": "try a smaller --align.batch_size",
    "generate": "try a smaller --generate.batch_size",
}


def needed(stage: str, config: Config) -> tuple[str, ...]:
    """Returns the stages of which a stage reads the results of at least one.

    Args:
        stage: Name of a stage.
        config: Configuration of the run. Without the region generator, `generate` needs no
            snippets; it needs the alignment only to attend to its embeddings. `features` needs
            `propose` only if `propose.epochs` is set. `evaluate` and `export` do with either of
            the models.

    Example:
        >>> needed("infer", Config()), needed("export", Config())
        (('align',), ('align', 'generate'))
    """
    if stage == "generate" and config.joint.train:
        return ("align",)
    if stage == "generate" and not config.generate.regions:
        return ("align",) if config.generate.attend_to == "embeddings" else ("features",)
    if stage == "features":
        return ("propose",) if config.propose.epochs else ()
    before = {"infer": ("align",), "align": ("features",), "generate": ("infer",)}
    either = ("align", "generate")
    return {**before, "evaluate": either, "report": ("evaluate",), "export": either}.get(stage, ())


def check_stages(config: Config, run: RunDirectory | None = None) -> None:
    """Checks that the configured stages can run, without making or claiming the run directory.

    Args:
        config: Configuration of this call.
        run: Run directory; None is that of the configuration, which need not exist.

    Raises:
        UserError: A stage needs another one that is neither finished nor configured.
    """
    stages = _configured(config)
    if run is None and (as_path(config.run_dir) / "config.json").is_file():
        run = RunDirectory(config.run_dir)
    for stage in stages:
        before = needed(stage, config)
        if before and not any(
            each in stages or (run is not None and run.is_done(each)) for each in before
        ):
            raise UserError(
                f"stage {stage} needs stage {' or '.join(before)}, which is not finished in "
                f"{config.run_dir}; add {before[0]} to --stages"
            )


def run_stages(
    context: Context,
    *,
    again: Collection[str] = (),
    progress: Callable[[str], object] = print,
) -> None:
    """Runs the configured stages in order; skips those that are finished in the run directory.

    Args:
        context: Context of the run.
        again: Stages to run although they are finished.
        progress: Called with a line at the start and at the end of every stage.

    Raises:
        UserError: A stage needs another one that is neither finished nor configured.
    """
    run, stages = context.run, _configured(context.config)
    check_stages(context.config, run)
    for number, stage in enumerate(stages, start=1):
        with report_training_errors(context.strategy, _MEMORY_ADVICE.get(stage, "")):
            label = f"[{number}/{len(stages)}] {stage}"
            _run_stage(context, stage, label, stage in again, progress)
    with report_training_errors(context.strategy):
        barrier(context.strategy)  # A worker that ended earlier would be missing to the others.


def _configured(config: Config) -> list[str]:
    """The stages to run, in order."""
    return [
        name
        for name in STAGES
        if name in config.stages and (name != "propose" or config.propose.epochs)
    ]


def _run_stage(
    context: Context, stage: str, label: str, again: bool, progress: Callable[[str], object]
) -> None:
    """Runs a stage unless it is finished; the chief decides for all workers."""
    run, module = context.run, _module(stage, context.config)
    outdated = hasattr(module, "is_outdated") and module.is_outdated(context)
    done = np.array([run.is_done(stage) and not again], np.float64)
    if broadcast_from_chief(context.strategy, done)[0] and not any_worker(
        context.strategy, outdated
    ):
        if hasattr(module, "complete"):
            module.complete(context)
        progress(f"{label}: finished before, skipped")
        return
    if not context.is_chief and not getattr(module, "ALL_WORKERS", False):
        progress(f"{label}: left to the chief")
        return
    progress(f"{label}: started")
    started = time.perf_counter()
    try:
        summary = module.run(context)
    except BaseException:
        if context.is_chief and not run.is_done(stage):
            run.add_time(stage, time.perf_counter() - started)
        raise
    seconds = time.perf_counter() - started
    if context.is_chief:
        run.mark_done(stage, seconds, summary)
    progress(f"{label}: finished in {seconds:.1f} s")


def _module(stage: str, config: Config) -> ModuleType:
    """Imports the module of a stage; with `joint.train`, another one trains the alignment."""
    name = "joint" if stage == "align" and config.joint.train else stage
    return importlib.import_module(f"visem_tf.stages.{name}")
