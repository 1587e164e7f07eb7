"""The names that options accept for implementations in other packages.

The configuration must not import those packages, which load TensorFlow.
"""

import pkgutil
from pathlib import Path

SCORES = (
    "attention",
    "best_region",
    "cosine",
    "fragments",
    "hard_alignment",
    "negative_aware",
)
"""Image-sentence scores, see `visem_tf.alignment.word_scores`."""

HUBNESS_SCORES = ("best_region", "cosine")
"""Scores whose hubness can be computed, see `visem_tf.alignment.hubness`."""

LOSSES = ("hinge_max", "hinge_sum", "infonce")
"""Losses of the alignment model, see `visem_tf.alignment.losses`."""

READOUTS = ("mrf", "phrase", "word")
"""Ways from a phrase to its box and its point, see `visem_tf.alignment.phrases`."""

CELLS = ("gru", "lstm", "rnn")
"""Recurrent cells of the caption generators, see `visem_tf.models.cells`."""

BACKBONES = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")
"""Pretrained CNNs, see `visem_tf.regions.backbone`."""

PROPOSERS = tuple(
    module.name
    for module in pkgutil.iter_modules([str(Path(__file__).parents[1] / "regions" / "proposers")])
)
"""Region proposers: every module of `visem_tf.regions.proposers`."""

PROBABILITY_PROPOSERS = ("retinanet", "trained")
"""Proposers whose scores are probabilities, in (0, 1]. The scores of the others only order the
boxes of an image."""
