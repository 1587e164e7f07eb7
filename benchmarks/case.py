"""One thing to measure: our code, the products it cannot do without, and the plain way to do it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

SIZES = ("small", "middle", "large")
"""Every path is measured at three sizes, so that growth shows."""

Work = Callable[[], object]
"""Does the work once, and returns when it is done."""


@dataclass(frozen=True)
class Case:
    """A path at one size.

    Attributes:
        path: what is measured, a name of its own.
        size: one of `SIZES`.
        setting: the numbers behind that size, for the reader.
        unit: what is counted.
        amount: how many of them `run` does.
        run: our code.
        floor: the bare matrix products of the same work, of the same shapes, in TensorFlow; None
            where there are none.
        floor_share: the part of `run`'s products that `floor` does.
        reference: the same written plainly in NumPy; None where nobody would.
        reference_amount: how many of the units `reference` does: a sample may be enough.
        waiting: for training, every call of `run` adds the share of its time that it waited for
            input.
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
