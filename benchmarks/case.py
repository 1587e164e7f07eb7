"""A benchmark case: our code, the matrix products that it needs, and a plain reference."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

SIZES = ("small", "middle", "large")
"""Every path is measured at three sizes, so that growth shows."""

Work = Callable[[], object]
"""Does the work once, and returns when it is done."""


@dataclass(frozen=True)
class Case:
    """One path at one size.

    Attributes:
        path: Name of the path.
        size: One of `SIZES`.
        setting: Dimensions of this size, for the reader.
        unit: Unit that is counted.
        amount: Number of units that `run` processes.
        run: Our code.
        floor: The bare matrix products of the same work, with the same shapes, in TensorFlow; None
            if there are none.
        floor_share: Share of the products of `run` that `floor` computes.
        reference: The same work in plain NumPy; None if there is no reference.
        reference_amount: Number of units that `reference` processes; a sample may be enough.
        waiting: For training, the list to which every call of `run` appends the share of its time
            spent waiting for input.
    """

    path: str
    size: str
    setting: str
    unit: str
    amount: float
    run: Work
    floor: Work | None = None
    floor_share: float = 1.0
    reference: Work | None = None
    reference_amount: float = 0.0
    waiting: list[float] | None = None


Cases = Callable[[str], Iterator[Case]]
"""Makes the cases of a path at a size; what they need is made when they are asked for."""
