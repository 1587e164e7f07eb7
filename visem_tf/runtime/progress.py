"""Progress of long work: a bar in a terminal, and a line every half minute in a log."""

from __future__ import annotations

import sys
import time

import tqdm

_SECONDS_BETWEEN_LINES = 30


def progress_bar(
    total: int, description: str, unit: str, *, initial: int = 0, delay: float = 1
) -> tqdm.tqdm | ProgressLines:
    """Opens the progress of some work on the standard error; use it in `with`, or close it.

    Args:
        total: Number of steps.
        description: Label of the work.
        unit: What the steps are, in the plural.
        initial: Number of steps that were done before.
        delay: Seconds after which a bar appears in a terminal.

    Returns:
        A progress bar in a terminal, `ProgressLines` elsewhere. `update(n)` counts n steps.
    """
    if sys.stderr is None or not sys.stderr.isatty():
        return ProgressLines(total, description, unit, initial=initial)
    return tqdm.tqdm(
        total=total, initial=initial, desc=description, unit=f" {unit}", leave=False, delay=delay
    )


class ProgressLines:
    """Progress as lines of a log: one every half minute, with the time left.

    Args:
        total: Number of steps.
        description: Label of the work.
        unit: What the steps are, in the plural.
        initial: Number of steps that were done before.

    Attributes:
        n: Number of steps that are done.
    """

    def __init__(self, total: int, description: str, unit: str, *, initial: int = 0) -> None:
        self.total, self.description, self.unit = total, description, unit
        self.n = self.initial = initial
        self._start = self._last_line = time.monotonic()

    def __enter__(self) -> ProgressLines:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def update(self, n: int = 1) -> None:
        """Counts steps, and prints a line if half a minute has passed since the last one.

        Args:
            n: Number of steps that were done.
        """
        self.n += n
        now = time.monotonic()
        if now - self._last_line < _SECONDS_BETWEEN_LINES or self.n >= self.total:
            return
        self._last_line = now
        seconds = (now - self._start) / (self.n - self.initial) * (self.total - self.n)
        left = tqdm.tqdm.format_interval(round(seconds))
        print(
            f"{self.description}: {self.n} of {self.total} {self.unit}, {left} left",
            file=sys.stderr,
            flush=True,
        )

    def clear(self) -> None:
        """Does nothing: unlike a bar, a line is not in the way of other output."""

    def close(self) -> None:
        """Ends the progress."""
