"""Times feature extraction per image: crops, one pass and pooled regions, by two proposers.

    python benchmarks/features.py

Each kind extracts features from batches of 8 noise images with the settings of the preset `paper`,
in turn, in one run. Prints the median of five rounds after a warm-up round, and its ratio to that
of crops of windows. The trained proposer has random weights, which take as long as others.
"""

import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

from visem_tf.config.presets import preset
from visem_tf.regions.backbone import load_backbone
from visem_tf.regions.box_network import BoxNetwork, write_network
from visem_tf.regions.extractor import RegionExtractor

BATCH, ROUNDS = 8, 6
REFERENCE = "crops, windows"
KINDS = {
    "whole frame": {"proposer": "none"},
    **{
        f"{features}, {proposer}": {"features": features, "proposer": proposer}
        for proposer in ("windows", "trained")
        for features in ("crops", "one_pass", "pooled")
    },
    "crops in own shapes": {"resolution": "own"},
}


def main() -> None:
    """Times all kinds in turn and prints one line for each."""
    settings = preset("paper").regions
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "proposer.npz"
        network = BoxNetwork(load_backbone(settings.backbone).map_channels)
        write_network(network, path, settings.backbone)
        extractors = {}
        for name, kind in KINDS.items():
            file = str(path) if kind.get("proposer") == "trained" else ""
            options = settings.updated({**kind, "proposer_file": file})
            extractors[name] = RegionExtractor(options)
    shape = [BATCH, settings.picture_size, settings.picture_size, 3]
    pixels = tf.random.uniform(shape, maxval=255.0, seed=0)
    seconds: dict[str, list[float]] = {name: [] for name in KINDS}
    for _ in range(ROUNDS):
        for name, extractor in extractors.items():
            started = time.perf_counter()
            extractor.compiled(pixels)
            seconds[name].append((time.perf_counter() - started) / BATCH)
    reference = np.median(seconds[REFERENCE][1:])
    for name, times in seconds.items():
        typical = np.median(times[1:])
        print(f"{name:20}{typical:.4f} s per image, {typical / reference:.2f} times {REFERENCE}")


if __name__ == "__main__":
    main()
