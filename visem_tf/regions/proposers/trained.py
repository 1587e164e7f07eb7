"""Boxes of a small detector that was trained on boxes of people's phrases, without the words.

The file of its weights is that of `regions.proposer_file`, else the one that the run has trained,
else the one in the package, which was trained on the training images of Flickr8K.
"""

import importlib.resources
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import tensorflow as tf

from visem_tf.config import RegionsConfig
from visem_tf.regions.backbone import Backbone, Maps
from visem_tf.regions.box_network import BoxPredictions, read_network, select_boxes
from visem_tf.regions.proposers import Proposals
from visem_tf.runtime.storage import AnyPath, as_path

_PACKAGED = "pretrained/flickr8k/proposer.npz"


@dataclass(frozen=True)
class TrainedProposer:
    """Keeps the boxes that cover the predictions best, see `visem_tf.regions.coverage`.

    The scores of the proposals are the expected IoU of a box, between 0 and 1.

    Args:
        backbone: CNN that computes the maps.
        predict: Function that predicts boxes from maps, e.g. a `BoxNetwork`.
        num_boxes: Number of boxes to keep.
    """

    in_graph: ClassVar = True

    backbone: Backbone
    predict: Callable[[Maps], BoxPredictions]
    num_boxes: int

    def __call__(self, pixels: tf.Tensor) -> Proposals:
        """Proposes boxes for images float [B, P, P, 3] in 0..255; see `Proposer`."""
        predictions = self.predict(self.backbone.maps(pixels))
        return Proposals(*select_boxes(predictions, self.num_boxes))


def weights_file(settings: RegionsConfig, weights: Path | None = None) -> AnyPath:
    """Returns the file of the weights.

    Args:
        settings: Section `regions` of the configuration.
        weights: File that the run has trained, if it has.
    """
    if settings.proposer_file:
        return as_path(settings.proposer_file)
    return weights or Path(str(importlib.resources.files("visem_tf") / _PACKAGED))


def build(
    settings: RegionsConfig, backbone: Backbone, weights: Path | None = None
) -> TrainedProposer:
    """Builds the proposer.

    Raises:
        UserError: If the file of its weights is missing or damaged, or was trained on another CNN.
    """
    network = read_network(weights_file(settings, weights), backbone)
    constants = [tf.constant(variable.numpy()) for variable in network.trainable_variables]

    def predict(maps: Maps) -> BoxPredictions:
        predictions, _ = network.stateless_call(constants, [], maps)
        return BoxPredictions(*predictions)

    return TrainedProposer(backbone, predict, settings.num_regions - 1)
