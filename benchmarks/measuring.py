"""Times of a case in turns, and the memory that it takes.

Machines are shared, clocks change: every round does our work, the floor and the reference one after
the other, and ratios are taken within a round.
"""

from __future__ import annotations

import contextlib
import ctypes
import re
import time
from pathlib import Path
from statistics import median
from typing import Any

import tensorflow as tf

from benchmarks.case import Case, Work


def measure(case: Case, rounds: int) -> dict[str, Any]:
    """Measures a case.

    Args:
        case: what to do.
        rounds: how often, after one time that does not count.

    Returns:
        `seconds` of `run` (median), `per_second` units, `peak_mib` that `run` added to the memory
        of the process; and where the case has them `floor_seconds` and `times_floor`, and
        `reference_per_second` and `times_reference`: medians of the ratios within the rounds; and
        `waiting`, the share of the time that a training waited for input.
    """
    peak = _peak_mib(case.run)
    for work in (case.floor, case.reference):
        if work:
            work()
    ours, floors, references = [], [], []
    for _ in range(rounds):
        ours.append(_seconds(case.run))
        if case.floor:
            floors.append(_seconds(case.floor) / case.floor_share)
        if case.reference:
            references.append(_seconds(case.reference) / case.reference_amount)
    figures: dict[str, Any] = {
        "path": case.path,
        "size": case.size,
        "setting": case.setting,
        "unit": case.unit,
        "amount": case.amount,
        "seconds": median(ours),
        "per_second": case.amount / median(ours),
        "peak_mib": peak,
    }
    if floors:
        pairs = zip(ours, floors, strict=True)
        figures["floor_seconds"] = median(floors)
        figures["times_floor"] = median(own / floor for own, floor in pairs)
    if references:
        pairs = zip(ours, references, strict=True)
        figures["reference_per_second"] = 1 / median(references)
        figures["times_reference"] = median(theirs / (own / case.amount) for own, theirs in pairs)
    if case.waiting:
        figures["waiting"] = median(case.waiting[-rounds:])
    return figures


def _seconds(work: Work) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _peak_mib(work: Work) -> float | None:
    """What a second call adds to the memory at its highest; None where the system does not say."""
    if gpus := tf.config.list_logical_devices("GPU"):
        work()
        tf.config.experimental.reset_memory_stats(gpus[0].name)
        before = tf.config.experimental.get_memory_info(gpus[0].name)["current"]
        work()
        peak = tf.config.experimental.get_memory_info(gpus[0].name)["peak"]
        return (peak - before) / 2**20
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)  # What was freed is no longer this process's.
    before = _status("VmRSS")
    try:
        Path("/proc/self/clear_refs").write_text("5")  # Linux forgets the highest so far.
    except OSError:
        work()
        return None
    work()  # The first call: memory that is kept for later ones counts too.
    highest = _status("VmHWM")
    work()
    return None if before is None or highest is None else max(0.0, highest - before)


def _status(name: str) -> float | None:
    """A figure of this process, in MiB."""
    try:
        text = Path("/proc/self/status").read_text()
    except OSError:
        return None
    found = re.search(rf"^{name}:\s+(\d+) kB", text, re.MULTILINE)
    return int(found[1]) / 1024 if found else None
