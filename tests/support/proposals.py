"""Untrained networks of the proposer, with weights that make their boxes differ."""

from pathlib import Path

import keras
import numpy as np

from visem_tf.regions.backbone import load_backbone
from visem_tf.regions.box_network import BoxNetwork, write_network


def make_network(channels: int = 8, map_channels: tuple[int, int, int] = (4, 5, 6)) -> BoxNetwork:
    """Builds a network whose predictions depend on its maps."""
    keras.utils.set_random_seed(3)
    network = BoxNetwork(map_channels, channels)
    rng = np.random.default_rng(3)
    for layer in (network.score, network.sides):
        kernel, bias = layer.get_weights()
        layer.set_weights([rng.normal(size=kernel.shape) * 0.3, rng.normal(size=bias.shape) * 0.3])
    network.level_scales.assign([0.8, 0.9, 1.0, 1.1])
    return network


def write_proposer(path: Path, channels: int = 8) -> Path:
    """Writes a network for the maps of efficientnet_lite0, and returns the path."""
    name = "efficientnet_lite0"
    write_network(make_network(channels, load_backbone(name).map_channels), path, name)
    return path
