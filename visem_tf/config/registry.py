"""The choices that options have by name, where a new one may be added without other changes."""

from __future__ import annotations

import pkgutil
from pathlib import Path

SCORES = ("attention", "best_region", "cosine", "fragments")
"""Image-sentence scores, see `visem_tf.alignment.scores`."""

LOSSES = ("hinge_max", "hinge_sum", "infonce")
"""Losses of the alignment model."""

CELLS = ("gru", "lstm", "rnn")
"""Recurrent cells of the caption generators, see `visem_tf.models.cells`."""

PROPOSERS = tuple(
    module.name
    for module in pkgutil.iter_modules([str(Path(__file__).parents[1] / "regions" / "proposers")])
)
"""Region proposers: every module of `visem_tf.regions.proposers`."""
