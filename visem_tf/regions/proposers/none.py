"""No boxes: the whole frame is the only region, the baseline for regions."""

import tensorflow as tf

from visem_tf.config import RegionsConfig
from visem_tf.regions.backbone import Backbone
from visem_tf.regions.proposers import Proposals


class NoProposer:
    """Proposes no boxes."""

    in_graph = True

    def __call__(self, pixels: tf.Tensor) -> Proposals:
        """Returns no boxes, [B, 0, 4]; see `Proposer`."""
        batch = tf.shape(pixels)[0]
        return Proposals(
            tf.zeros([batch, 0, 4]), tf.zeros([batch, 0]), tf.zeros([batch, 0], tf.bool)
        )


def build(settings: RegionsConfig, backbone: Backbone) -> NoProposer:
    """Builds the proposer; `settings.num_regions` has no effect."""
    return NoProposer()
