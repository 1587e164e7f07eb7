"""What can be chosen by name: a proposer, cell, score or loss is one module, and is found by it."""

from __future__ import annotations

import pkgutil
from pathlib import Path

from visem_tf.config.settings import nearest
from visem_tf.errors import UserError


def proposer_names() -> tuple[str, ...]:
    """Returns the proposers there are: the modules of `visem_tf.regions.proposers`."""
    return _modules("regions", "proposers")


def cell_names() -> tuple[str, ...]:
    """Returns the recurrent cells there are: the modules of `visem_tf.models.cells`."""
    return _modules("models", "cells")


def score_names() -> tuple[str, ...]:
    """Returns the image-sentence scores there are: the modules of `visem_tf.scores`."""
    return _modules("scores")


def loss_names() -> tuple[str, ...]:
    """Returns the losses of the alignment there are: the modules of `visem_tf.losses`."""
    return _modules("losses")


def _modules(*package: str) -> tuple[str, ...]:
    folder = Path(__file__).parents[1].joinpath(*package)
    return tuple(module.name for module in pkgutil.iter_modules([str(folder)]))


def check_name(field: str, name: str, names: tuple[str, ...]) -> None:
    """Checks that a field names one of those there are.

    Raises:
        UserError: it does not; the nearest is named.
    """
    if name not in names:
        raise UserError(
            f"{field} must be one of {', '.join(names)}, not {name!r}{nearest(name, names)}"
        )
