"""Proposers of boxes, one in each module.

The name of a module of this package is the name of the proposer in the configuration, and its
function `build(settings, backbone, weights)` returns a `Proposer`. A new one needs no registration.
"""

import importlib
from pathlib import Path
from typing import NamedTuple, Protocol

import tensorflow as tf

from visem_tf.config import RegionsConfig
from visem_tf.regions.backbone import Backbone


class Proposals(NamedTuple):
    """Boxes of a batch of images, the most promising first.

    Attributes:
        boxes: float [B, R, 4], `rel_yxyx`.
        scores: float [B, R], descending; comparable only within a proposer.
        mask: bool [B, R], False where fewer boxes were found.
    """

    boxes: tf.Tensor
    scores: tf.Tensor
    mask: tf.Tensor


class Proposer(Protocol):
    """Finds boxes of an image that are likely to show something, besides the whole frame."""

    in_graph: bool
    """Whether it consists of TensorFlow operations only, so that it can be exported."""

    def __call__(self, pixels: tf.Tensor) -> Proposals:
        """Proposes `num_regions` - 1 boxes for each of the images float [B, P, P, 3] in 0..255."""


def build_proposer(
    settings: RegionsConfig, backbone: Backbone, weights: Path | None = None
) -> Proposer:
    """Builds the proposer that the configuration names.

    Args:
        settings: Section `regions` of the configuration.
        backbone: CNN whose maps the proposer may read.
        weights: File of a proposer that the run has trained; only `trained` reads it.

    Raises:
        UserError: A package or file that it needs is missing.
    """
    module = importlib.import_module(f"{__name__}.{settings.proposer}")
    proposer: Proposer = module.build(settings, backbone, weights)
    return proposer
