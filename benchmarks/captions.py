"""Measures captions per second from the features of a finished run, beside plain NumPy.

    python -m benchmarks.captions --run-dir runs/f8k [--rounds 5]

The full-frame generator of the run describes 100 images of the test split by greedy search and with
seven beams. Plain NumPy (`benchmarks.reference.generator`, one thread, one beam at a time)
describes the first three of them with the same weights. Every sentence ends at the model's own END.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import tensorflow as tf

from benchmarks.case import Case
from benchmarks.measuring import measure
from benchmarks.paths.generator import generator_weights
from benchmarks.reference import generator as reference
from visem_tf.cli import run_command
from visem_tf.decoding import beam_search
from visem_tf.errors import UserError
from visem_tf.models.caption_generator import CaptionGenerator
from visem_tf.models.saving import load_model
from visem_tf.regions.dataset_cache import FeatureCache
from visem_tf.runs.run_directory import RunDirectory

BEAMS, STEPS, PICTURES, PLAIN = 7, 20, 100, 3


def main() -> None:
    """Measures and prints the results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.captions")
    parser.add_argument(
        "--run-dir", required=True, help="run directory whose full-frame generator is an mrnn"
    )
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds (default: 5)")
    options = parser.parse_args()
    run = RunDirectory(options.run_dir)
    folders = run.summary("features").get("cache")
    if not folders:
        raise UserError(f"{run.path} has not finished the stage features")
    path = run / "checkpoints" / "generate" / "full_frame" / "best.keras"
    generator = load_model(path, CaptionGenerator)
    frames = _frames(folders["test"], run.summary("features")["pictures"]["test"])
    pictures = tf.constant(frames)
    scaled = np.array(generator.scaling(pictures))
    weights = generator_weights(generator)
    for beams in (1, BEAMS):

        @tf.function(autograph=False)
        def search(pictures: tf.Tensor, beams: int = beams) -> tf.Tensor:
            return beam_search(generator, pictures, beams, STEPS)[0]

        def plainly(beams: int = beams) -> list[tuple[float, list[int]]]:
            return [
                reference.beam_search(weights, vector, beams, STEPS) for vector in scaled[:PLAIN]
            ]

        token_ids = search(pictures).numpy()[:, 0]
        same = sum(
            said == [word for word in row.tolist() if word]
            for (_, said), row in zip(plainly(), token_ids, strict=False)
        )
        figures = measure(
            Case(
                f"beam {beams}",
                "run",
                "",
                "captions",
                len(frames),
                lambda search=search: search(pictures).numpy(),
                reference=plainly,
                reference_amount=PLAIN,
            ),
            options.rounds,
        )
        print(
            f"{generator.cell} {generator.hidden_dim}, beam {beams}: "
            f"{figures['per_second']:,.0f} captions/s, NumPy "
            f"{figures['reference_per_second']:,.1f}, ratio {figures['times_reference']:.1f}; "
            f"{(token_ids != 0).sum(1).mean():.1f} tokens each; {same} of {PLAIN} the same"
        )


def _frames(folder: str, count: int) -> np.ndarray:
    """Returns the features of whole frames, float32 [PICTURES, F]."""
    key = json.loads((Path(folder) / "key.json").read_text(encoding="utf-8"))
    cache = FeatureCache(Path(folder), key, count)
    return cache.gather(np.arange(min(PICTURES, count))).region_features[:, 0]


if __name__ == "__main__":
    run_command(main)
