"""What can be chosen by name: a proposer or a cell is one module, and is found by it."""

from __future__ import annotations

import pkgutil
from pathlib import Path


def proposer_names() -> tuple[str, ...]:
    """Returns the proposers there are: the modules of `visem_tf.regions.proposers`."""
    return _modules("regions", "proposers")


def cell_names() -> tuple[str, ...]:
    """Returns the recurrent cells there are: the modules of `visem_tf.models.cells`."""
    return _modules("models", "cells")


def _modules(*package: str) -> tuple[str, ...]:
    folder = Path(__file__).parent.joinpath(*package)
    return tuple(module.name for module in pkgutil.iter_modules([str(folder)]))
