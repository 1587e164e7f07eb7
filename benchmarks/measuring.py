"""A case, and how its time, its memory and its ratios are measured.

On a shared machine the speed changes over time. Every round therefore runs our code, its floor and
its peer one after the other, and ratios are those within a round.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Work = Callable[[], object]
"""Does the work once, and returns when it is done."""


@dataclass(frozen=True)
class Case:
    """Work that is measured, and what it is compared with.

    Attributes:
        path: Name in the table.
        setting: Dimensions of this size, for the reader.
        unit: Unit that is counted.
        amount: Number of units that `run` processes.
        run: Our code.
        floor: Makes the least work that the task needs, such as the bare matrix products with the
            same shapes. Like the peer, it is made when the memory of `run` has been measured.
        floor_share: Share of the task for which `floor` does the work.
        peer: Makes the same work by other code.
        notes: Returns further figures, after the rounds.
    """

    path: str
    setting: str
    unit: str
    amount: float
    run: Work
    floor: Callable[[], Work] | None = None
    floor_share: float = 1.0
    peer: Callable[[], Work] | None = None
    notes: Callable[[], dict[str, float]] = dict


def measure(case: Case, size: str, rounds: int) -> dict[str, Any]:
    """Measures a case.

    Args:
        case: Case to measure.
        size: Name of its size.
        rounds: Number of timed rounds, after one warm-up round.

    Returns:
        The fields of the case that describe it, the median `seconds` of `run` and their 95th
        percentile, `per_second` units, `peak_mib`, the peak memory of the process after the first
        `run`, `gpu_peak_mib` if there is a GPU, and the notes of the case. If the case has a floor
        or a peer: `times_floor`, how often ours takes the time of the floor, `times_peer`, how
        often ours is done in the time of the peer, each with its spread, the smallest and the
        largest value of a round, and `floor_seconds` and `peer_per_second`.
    """
    _gpu_peak()  # begins anew after the case before
    case.run()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    figures: dict[str, Any] = {
        "path": case.path,
        "size": size,
        "setting": case.setting,
        "unit": case.unit,
        "amount": case.amount,
        "peak_mib": peak / (2**20 if sys.platform == "darwin" else 2**10),
        **_gpu_peak(),
    }
    floor, peer = (make() if make else None for make in (case.floor, case.peer))
    for work in (floor, peer):
        if work:
            work()
    ours, floors, peers = np.transpose(
        [(seconds(case.run), seconds(floor), seconds(peer)) for _ in range(rounds)]
    )
    floors = floors / case.floor_share
    figures["seconds"] = float(np.median(ours))
    figures["seconds_p95"] = float(np.percentile(ours, 95))
    figures["per_second"] = case.amount / figures["seconds"]
    if floor:
        figures["floor_seconds"] = float(np.median(floors))
        figures |= _ratio("times_floor", ours / floors)
    if peer:
        figures["peer_per_second"] = case.amount / float(np.median(peers))
        figures |= _ratio("times_peer", peers / ours)
    return figures | case.notes()


def seconds(work: Work | None) -> float:
    """Returns the duration of the work, or NaN if there is none."""
    if work is None:
        return float("nan")
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _ratio(name: str, rounds: np.ndarray) -> dict[str, Any]:
    spread = [float(rounds.min()), float(rounds.max())]
    return {name: float(np.median(rounds)), f"{name}_spread": spread}


def _gpu_peak() -> dict[str, float]:
    """Returns the peak memory of the first GPU since the last call, if there is one."""
    import tensorflow as tf

    gpus = tf.config.list_logical_devices("GPU")
    if not gpus:
        return {}
    peak = tf.config.experimental.get_memory_info(gpus[0].name)["peak"]
    tf.config.experimental.reset_memory_stats(gpus[0].name)
    return {"gpu_peak_mib": peak / 2**20}
