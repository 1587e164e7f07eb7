"""Standard streams as users have them: closed, full, or of an encoding without some letters."""

from __future__ import annotations

import os
import sys


def prepare_standard_streams() -> None:
    """Makes the standard streams usable, whatever they are.

    A closed stream is replaced by the null device, also for native code. Letters that the encoding
    of a stream lacks are written as escapes.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
    for number, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w", encoding="utf-8", closefd=False))
        if hasattr(getattr(sys, name), "reconfigure"):
            getattr(sys, name).reconfigure(errors="backslashreplace")


def discard_output() -> None:
    """Discards what standard output cannot take, so that Python's end does not try again."""
    try:
        sys.stdout.flush()
    except OSError:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
