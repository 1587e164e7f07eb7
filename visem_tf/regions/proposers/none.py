"""No boxes: the whole frame is the only region, the baseline for regions."""

from pathlib import Path

from visem_tf.config import RegionsConfig
from visem_tf.regions.backbone import Backbone
from visem_tf.regions.proposers.grid import GridProposer


def build(settings: RegionsConfig, backbone: Backbone, weights: Path | None = None) -> GridProposer:
    """Builds a proposer of no boxes; `settings.num_regions` has no effect."""
    return GridProposer(0)
