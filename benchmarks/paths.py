"""The paths: functions that yield cases, each measured in one process and printed as a table."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import gc
import importlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from benchmarks.measuring import measure
from visem_tf.runtime.startup import start_tensorflow

SIZES = ("quick", "small", "middle", "large")


class Cases(NamedTuple):
    """A function that yields the cases of a path.

    Attributes:
        module: Module that has a function of the path's name.
        counts: Amounts of work of the sizes; the function says what they count.
        needs: Options that must be given.
    """

    module: str
    counts: tuple[int, int, int, int]
    needs: tuple[str, ...] = ()


PATHS = {
    "alignment": Cases("training", (2, 50, 100, 200)),
    "generator": Cases("training", (2, 50, 100, 200)),
    "attention": Cases("training", (2, 50, 100, 200)),
    "training": Cases("training", (20, 500, 1_500, 5_000)),
    "mrf": Cases("answers", (20, 1_000, 5_000, 30_000)),
    "decoding": Cases("answers", (2, 25, 100, 400)),
    "ranking": Cases("answers", (3, 250, 500, 1_000)),
    "features": Cases("images", (1, 4, 8, 16)),
    "proposals": Cases("images", (1, 4, 8, 16)),
    "start": Cases("serving", (1, 1, 4, 16), ("images",)),
    "serving": Cases("serving", (1, 1, 8, 32), ("run_dir", "saved_model", "images")),
    "index": Cases("index", (100, 1_000, 10_000, 100_000), ("run_dir",)),
}
_HEAD = ("median", "95 %", "a second", "peak MiB", "times its floor", "faster than peer")
_WIDTHS = (12, 12, 12, 10, 28, 26)


def measure_path(name: str, sizes: list[str], given: argparse.Namespace) -> list[dict[str, Any]]:
    """Measures a path at rising sizes and prints its lines."""
    start_tensorflow()
    path = PATHS[name]
    cases = getattr(importlib.import_module(f"benchmarks.{path.module}"), name)
    print("\n" + _row(name, _HEAD), flush=True)
    results = []
    for size in sizes:
        count = int(size) if size.isdecimal() else path.counts[SIZES.index(size)]
        for case in cases(count, given):
            # The notes may take long to measure.
            case = dataclasses.replace(case, notes=functools.cache(case.notes))
            results.append(measure(case, size, given.rounds))
            notes = [f"{key} {value:,.3g}" for key, value in case.notes().items()]
            print(f"{line(results[-1])} {', '.join(notes)}".rstrip(), flush=True)
            del case
        gc.collect()
    return results


def line(figures: dict[str, Any]) -> str:
    """Returns the line of a case in the table."""
    cells = [
        f"{1000 * figures['seconds']:,.1f} ms",
        f"{1000 * figures['seconds_p95']:,.1f} ms",
        f"{figures['per_second']:,.0f}",
        f"{figures['peak_mib']:,.0f}",
    ]
    for ratio in ("times_floor", "times_peer"):
        lowest, highest = figures.get(f"{ratio}_spread", (0, 0))
        shown = f"{figures.get(ratio, 0):.2f} ({lowest:.2f} to {highest:.2f})"
        cells.append(shown if ratio in figures else "")
    return _row(f"{figures['path']} [{figures['size']}]", cells)


def _row(name: str, cells: Sequence[str]) -> str:
    texts = (f"{cell:>{width}}" for cell, width in zip(cells, _WIDTHS, strict=True))
    return f"{name:58}" + "".join(texts)
