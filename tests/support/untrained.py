"""Untrained runs: all files that a finished run leaves, with random weights, made in a second."""

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np

from visem_tf.alignment.hubness import Bank
from visem_tf.config import Config
from visem_tf.models.alignment_model import AlignmentModel
from visem_tf.models.region_encoder import RegionEncoder
from visem_tf.models.saving import save_model
from visem_tf.models.sentence_encoder import SentenceEncoder
from visem_tf.models.weight_files import write_arrays
from visem_tf.regions.backbone import FEATURE_DIM
from visem_tf.regions.positions import POSITION_DIM
from visem_tf.runs.generators import build_generator
from visem_tf.runs.run_directory import RunDirectory
from visem_tf.runs.run_state import deciding_fields
from visem_tf.runs.trained_run import TrainedRun
from visem_tf.text import SPECIAL_WORDS, Vocabulary

WORDS = (*SPECIAL_WORDS, "a", "dog", "naïve", "red", "ball", "runs")
SETTINGS = {
    "text": {"max_words": 5},
    "regions": {
        "num_regions": 4,
        "picture_size": 64,
        "frame_size": 64,
        "crop_size": 32,
        "features": "crops",
    },
    "infer": {"beta": 0.1},
    "generate": {
        "beam_size": 3,
        "max_length": 6,
        "hidden_dim": 8,
        "word_dim": 6,
        "feature_scale": 10.0,
        "centre_features": False,
    },
}


def make_run(folder: Path, *models: str, seed: int = 0, **changes: Any) -> TrainedRun:
    """Writes the configuration, the vocabulary and the models that `visem_tf.fit` leaves behind.

    Args:
        folder: The run directory to make.
        models: Names of models: "align", "generate/full_frame", "generate/regions".
        seed: Seed of the random weights.
        changes: Fields of the configuration that differ from `SETTINGS`.
    """
    keras.utils.set_random_seed(seed)
    run = RunDirectory(folder)
    config = Config(run_dir=str(folder)).updated(SETTINGS).updated(changes)
    run.claim(config)
    Vocabulary(WORDS).save(run / "vocabulary.txt")
    feature_dim = FEATURE_DIM + (POSITION_DIM if config.regions.position else 0)
    sample = np.zeros([2, feature_dim], np.float32)
    for name in models:
        model: keras.Model
        if name == "align":
            words = SentenceEncoder(len(WORDS), 8, 7, word_dim=6)
            encoder = RegionEncoder(
                8, feature_scale=10.0, region_context=config.align.region_context
            )
            model = AlignmentModel(encoder, words, score=config.align.score)
            model.build({"region_features": (None, None, feature_dim), "token_ids": (None, None)})
            for projection in encoder.projections[1:]:  # zeros before the training
                kernel = projection.kernel
                kernel.assign(np.random.default_rng(seed).normal(0, 0.1, kernel.shape))
        else:
            kind = name.removeprefix("generate/")
            model = build_generator(config, kind, Vocabulary(WORDS), sample)
        path = run / "checkpoints" / name / "best.keras"
        path.parent.mkdir(parents=True)
        save_model(model, path)
    if config.infer.hubness_scale:
        write_arrays(run.bank, random_bank(seed)._asdict())
    return TrainedRun(folder)


def random_bank(seed: int) -> Bank:
    """A bank of 3 images and 5 sentences for the models of `make_run`."""
    random = np.random.default_rng(seed)
    sizes = [2, 8, 4], [3, 4, 4], [9, 4]
    projections, regions, words = (random.normal(size=size) for size in sizes)
    mask = np.arange(4) < [[4], [1], [3]]
    sentence = np.array([0, 0, 1, 2, 2, 2, 3, 4, 4], np.int32)
    return Bank(*projections, regions, mask, words, sentence)


def replace_config(folder: Path, config: Config) -> None:
    """Replaces the configuration of a run, as if the run had been started with it."""
    (folder / "config.json").write_text(config.to_json(), encoding="utf-8")
    state = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    state["config"] = deciding_fields(config)
    (folder / "state.json").write_text(json.dumps(state), encoding="utf-8")
