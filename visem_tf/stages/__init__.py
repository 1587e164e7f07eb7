"""The stages of a run, a module each: features, align, infer, generate, evaluate, report, export.

A stage is a module of this package, named after it, with `run(context) -> dict`, which does the
work in the context's run directory and returns the figures to keep. It is imported when its turn
comes. One whose results can be lost, or be of other settings than those asked for, has
`is_outdated(context) -> bool` as well, and is done again where it says so.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from visem_tf.config import STAGES, Config
from visem_tf.errors import UserError
from visem_tf.stages.run_directory import RunDirectory

if TYPE_CHECKING:
    import tensorflow as tf

    from visem_tf.datasets.loading import CaptionDataset

__all__ = ["STAGES", "Context", "RunDirectory", "needed", "run_stages"]


@dataclass(frozen=True)
class Context:
    """What a stage works with.

    Attributes:
        config: the resolved configuration.
        run: the run directory.
        data: the data set.
        strategy: the devices to train on.
    """

    config: Config
    run: RunDirectory
    data: CaptionDataset
    strategy: tf.distribute.Strategy


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
    run, wanted = context.run, [s for s in STAGES if s in context.config.stages]
    for stage in wanted:
        before = needed(stage, context.config)
        if before and before not in wanted and not run.is_done(before):
            raise UserError(
                f"stage {stage} needs stage {before}, which is not finished in {run.path}; "
                f"add {before} to --stages"
            )
    for number, stage in enumerate(wanted, start=1):
        label = f"[{number}/{len(wanted)}] {stage}"
        module = importlib.import_module(f"visem_tf.stages.{stage}")
        outdated = hasattr(module, "is_outdated") and module.is_outdated(context)
        if run.is_done(stage) and stage not in again and not outdated:
            progress(f"{label}: finished before, skipped")
            continue
        progress(f"{label}: started")
        work: Callable[[Context], dict[str, Any]] = module.run
        started = time.perf_counter()
        try:
            summary = work(context)
        except BaseException:
            if not run.is_done(stage):
                run.add_time(stage, time.perf_counter() - started)
            raise
        seconds = time.perf_counter() - started
        run.mark_done(stage, seconds, summary)
        progress(f"{label}: finished in {seconds:.1f} s")
