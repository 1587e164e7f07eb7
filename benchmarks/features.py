"""Times feature extraction per image: whole frame, pooled regions, crops, and native-aspect crops.

    python benchmarks/features.py

Each kind extracts features from batches of 8 noise images with the settings of the preset `paper`,
in turn, in one run. Prints the median of five rounds after a warm-up round.
"""

import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

from visem_tf.config.presets import preset
from visem_tf.regions.extractor import RegionExtractor

BATCH, ROUNDS = 8, 6
KINDS = {
    "whole frame": {"proposer": "none"},
    "20 regions, pooled": {"features": "pooled"},
    "20 regions, crops": {},
    "20, in own shapes": {"resolution": "own"},
}


def main() -> None:
    """Times all kinds in turn and prints one line for each."""
    settings = preset("paper").regions
    extractors = {name: RegionExtractor(settings.updated(kind)) for name, kind in KINDS.items()}
    shape = [BATCH, settings.picture_size, settings.picture_size, 3]
    pixels = tf.random.uniform(shape, maxval=255.0, seed=0)
    seconds: dict[str, list[float]] = {name: [] for name in KINDS}
    for _ in range(ROUNDS):
        for name, extractor in extractors.items():
            started = time.perf_counter()
            extractor.compiled(pixels)
            seconds[name].append((time.perf_counter() - started) / BATCH)
    frame = np.median(seconds["whole frame"][1:])
    for name, times in seconds.items():
        typical = np.median(times[1:])
        print(f"{name:20}{typical:.4f} s per image, {typical / frame:.1f} times the whole frame")


if __name__ == "__main__":
    main()
