"""The hot paths, one module each: `cases(size)` yields the cases of a size."""

from __future__ import annotations

import importlib

from benchmarks.case import Cases

PATHS = (
    "brnn",
    "scores",
    "alignment",
    "mrf",
    "generator",
    "attention",
    "decoding",
    "ranking",
    "features",
    "training",
)
"""The modules, as `--only` names them."""


def cases_of(path: str) -> Cases:
    """Returns the function that yields the cases of a path."""
    return importlib.import_module(f"benchmarks.paths.{path}").cases
