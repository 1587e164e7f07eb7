"""The stages of a run, a module each: features, align, infer, generate, evaluate, report, export.

A stage is a module of this package, named after it, with `run(context) -> dict`, which does the
work in the context's run directory and returns the figures to keep. It is imported when its turn
comes. Of several workers only the chief runs it, unless it says `ALL_WORKERS = True`. One whose
results can be lost, or be of other settings than those asked for, has
`is_outdated(context) -> bool` as well, and is done again where a worker says so.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Collection
from typing import Any

import numpy as np

from visem_tf.config import STAGES, Config
from visem_tf.errors import UserError
from visem_tf.runs.context import Context


def needed(stage: str, config: Config) -> str | None:
    """Returns the stage whose results a stage reads, or None for the first.

    Args:
        stage: a name of `STAGES`.
        config: without region generators, `generate` needs no snippets; and no alignment, unless
            it attends to its embeddings or is trained with it.

    Example:
        >>> needed("infer", Config())
        'align'
    """
    if stage == "generate" and config.joint.train:
        return "align"
    if stage == "generate" and not config.generate.regions:
        return "align" if config.generate.attend_to == "embeddings" else "features"
    before = {"infer": "align", "align": "features", "generate": "infer", "evaluate": "generate"}
    return {**before, "report": "evaluate", "export": "generate"}.get(stage)


def run_stages(
    context: Context,
    *,
    again: Collection[str] = (),
    progress: Callable[[str], object] = print,
) -> None:
    """Runs the configured stages in order, and skips those that the run directory has finished.

    Args:
        context: what the stages work with; `context.config.stages` names them.
        again: stages to run although they are finished.
        progress: is given a line at the start and the end of every stage.

    Raises:
        UserError: a stage needs one that is neither finished nor asked for.
    """
    from visem_tf.runtime.workers import report_training_errors

    run, wanted = context.run, [s for s in STAGES if s in context.config.stages]
    for stage in wanted:
        before = needed(stage, context.config)
        if before and before not in wanted and not run.is_done(before):
            raise UserError(
                f"stage {stage} needs stage {before}, which is not finished in {run.path}; "
                f"add {before} to --stages"
            )
    for number, stage in enumerate(wanted, start=1):
        with report_training_errors(context.strategy, _SMALLER.get(stage, "")):
            _run_stage(context, stage, again, f"[{number}/{len(wanted)}]", progress)
    with report_training_errors(context.strategy):
        _chief_says(context, True)  # So that nobody leaves while another still needs him.


_SMALLER = {
    "features": "try a smaller --regions.batch_size",
    "align": "try a smaller --align.batch_size",
    "generate": "try a smaller --generate.batch_size",
}


def _run_stage(
    context: Context,
    stage: str,
    again: Collection[str],
    place: str,
    progress: Callable[[str], object],
) -> None:
    """Runs a stage, unless it is finished; all workers do as the chief does."""
    from visem_tf.runtime.workers import any_worker

    run, label = context.run, f"{place} {stage}"
    # One model of alignment and generators takes the place of the alignment model.
    name = "joint" if stage == "align" and context.config.joint.train else stage
    module = importlib.import_module(f"visem_tf.stages.{name}")
    outdated = hasattr(module, "is_outdated") and module.is_outdated(context)
    done = _chief_says(context, run.is_done(stage) and stage not in again)
    if done and not any_worker(context.strategy, outdated):
        progress(f"{label}: finished before, skipped")
        return
    if not context.is_chief and not getattr(module, "ALL_WORKERS", False):
        progress(f"{label}: left to the chief")
        return
    progress(f"{label}: started")
    work: Callable[[Context], dict[str, Any]] = module.run
    started = time.perf_counter()
    try:
        summary = work(context)
    except BaseException:
        if context.is_chief and not run.is_done(stage):
            run.add_time(stage, time.perf_counter() - started)
        raise
    seconds = time.perf_counter() - started
    if context.is_chief:
        run.mark_done(stage, seconds, summary)
    progress(f"{label}: finished in {seconds:.1f} s")


def _chief_says(context: Context, answer: bool) -> bool:
    """The chief's answer, in all workers; they wait here for each other."""
    from visem_tf.runtime.workers import broadcast_from_chief

    return bool(broadcast_from_chief(context.strategy, np.array([answer], np.float64))[0])
