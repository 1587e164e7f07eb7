"""A finished run of tiny models with random weights, and its export, made once."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from visem_tf.config import Config
from visem_tf.export.parity import SessionModel
from visem_tf.export.saved_model.writing import Export, export_saved_model
from visem_tf.models.alignment_model import AlignmentModel
from visem_tf.models.region_encoder import RegionEncoder
from visem_tf.models.saving import save_model
from visem_tf.models.sentence_encoder import SentenceEncoder
from visem_tf.regions.backbone import FEATURE_DIM
from visem_tf.runs.generators import build_generator
from visem_tf.runs.run_directory import RunDirectory
from visem_tf.runs.trained import TrainedRun
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
    """Writes what `visem_tf.fit` leaves behind that an export reads."""
    keras.utils.set_random_seed(seed)
    run = RunDirectory(folder)
    config = Config(run_dir=str(folder)).updated(SETTINGS).updated(changes)
    run.claim(config)
    Vocabulary(WORDS).save(run / "vocabulary.txt")
    sample = np.zeros([2, FEATURE_DIM], np.float32)
    for name in models:
        model: keras.Model
        if name == "align":
            words = SentenceEncoder(len(WORDS), 8, 7, word_dim=6)
            model = AlignmentModel(RegionEncoder(8, feature_scale=10.0), words)
            model.build({"region_features": (None, None, FEATURE_DIM), "token_ids": (None, None)})
        else:
            kind = name.removeprefix("generate/")
            model = build_generator(config, kind, Vocabulary(WORDS), sample)
        path = run / "checkpoints" / name / "best.keras"
        path.parent.mkdir(parents=True)
        save_model(model, path)
    return TrainedRun(folder)


def encoded(seed: int, kind: str = "JPEG", mode: str = "RGB") -> bytes:
    """A small picture of a few coloured patches."""
    patches = np.random.default_rng(seed).integers(0, 256, [3, 4, 3], dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(patches).resize((60, 45)).convert(mode).save(buffer, kind)
    return buffer.getvalue()


@pytest.fixture(scope="session", name="make_run")
def make_run_fixture() -> Callable[..., TrainedRun]:
    return make_run


@pytest.fixture(scope="session")
def pictures() -> list[bytes]:
    return [encoded(1), encoded(2, "PNG"), encoded(3, "JPEG", "L")]


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    folder = tmp_path_factory.mktemp("trained") / "run"
    return make_run(folder, "align", "generate/full_frame", "generate/regions")


@pytest.fixture(scope="session")
def exported(trained: TrainedRun, tmp_path_factory: pytest.TempPathFactory) -> Export:
    # Another reader of the same run: what is compared must have been read from its files twice.
    run = TrainedRun(trained.run.path)
    return export_saved_model(run, tmp_path_factory.mktemp("exported") / "new" / "served")


class Served:
    """The signatures of an export as functions of lists, by way of `tf.saved_model.load`."""

    def __init__(self, path: Path) -> None:
        self.model = tf.saved_model.load(str(path))

    def __call__(self, signature: str, **inputs: Any) -> dict[str, np.ndarray]:
        tensors = {
            name: tf.constant(value, tf.string if isinstance(value, list) else None)
            for name, value in inputs.items()
        }
        outputs = self.model.signatures[signature](**tensors)
        return {name: output.numpy() for name, output in outputs.items()}


@pytest.fixture(scope="session")
def serve() -> type[Served]:
    return Served


@pytest.fixture(scope="session")
def served(exported: Export) -> Served:
    return Served(exported.path)


@pytest.fixture(scope="session")
def session(exported: Export) -> SessionModel:
    return SessionModel(exported.path)
