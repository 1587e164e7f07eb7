"""Measures the time of a case and the memory of the process.

On a shared machine the speed changes over time. Every round therefore runs our code, the matrix
products and the reference one after the other, and ratios are computed within a round.
"""

from __future__ import annotations

import resource
import sys
import time
from statistics import median
from typing import Any

import tensorflow as tf

from benchmarks.case import Case, Work


def measure(case: Case, rounds: int) -> dict[str, Any]:
    """Measures a case.

    Args:
        case: Case to measure.
        rounds: Number of timed rounds, after one warm-up round.

    Returns:
        Dictionary with the median `seconds` of `run`, `per_second` units, `peak_mib`, the peak
        memory of the process after the first `run`, and `gpu_peak_mib` if there is a GPU. If the
        case has
        them: `floor_seconds` and `times_floor`, `reference_per_second` and `times_reference`, where
        ratios are medians over rounds, and `waiting`, the share of training time spent waiting for
        input.
    """
    case.run()
    peak, gpu_peak = _peak_mib(), _gpu_peak_mib()
    for work in (case.floor, case.reference):
        if work:
            work()
    ours, floors, references = [], [], []
    for _ in range(rounds):
        ours.append(seconds(case.run))
        if case.floor:
            floors.append(seconds(case.floor) / case.floor_share)
        if case.reference:
            references.append(seconds(case.reference) / case.reference_amount)
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
    if gpu_peak is not None:
        figures["gpu_peak_mib"] = gpu_peak
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


def seconds(work: Work) -> float:
    """Returns the duration of the work."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _peak_mib() -> float:
    """Returns the peak memory of this process so far."""
    highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return highest / (2**20 if sys.platform == "darwin" else 2**10)


def _gpu_peak_mib() -> float | None:
    """Returns the peak memory of the first GPU since its last reset."""
    gpus = tf.config.list_logical_devices("GPU")
    if not gpus:
        return None
    peak = tf.config.experimental.get_memory_info(gpus[0].name)["peak"]
    tf.config.experimental.reset_memory_stats(gpus[0].name)
    return peak / 2**20
