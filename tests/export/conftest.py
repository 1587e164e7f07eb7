"""A finished run of tiny models with random weights, and its exports, made once for all tests.

They have the small CNN: `native_aspect_test` and `tflite_test` export the real one.
"""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from filelock import FileLock
from PIL import Image
from small_cnn import small_cnn
from untrained import make_run

from visem_tf.export.description import Export
from visem_tf.export.parity import SessionModel
from visem_tf.export.saved_model.writer import export_saved_model
from visem_tf.export.tflite.writer import export_tflite
from visem_tf.runs.trained_run import TrainedRun


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
def trained(shared_folder: Path) -> TrainedRun:
    folder = shared_folder / "trained"
    with FileLock(shared_folder / "trained.lock"):
        if not (folder / "finished").exists():
            models = ("align", "generate/full_frame", "generate/regions")
            make_run(folder / "run", *models, **{"infer.hubness_scale": 0.5})
            (folder / "finished").touch()
    return TrainedRun(folder / "run")


@pytest.fixture(scope="session")
def exported(trained: TrainedRun, shared_folder: Path) -> Export:
    folder = shared_folder / "exported"
    with FileLock(shared_folder / "exported.lock"):
        if not (folder / "finished").exists():
            with small_cnn():
                # Another reader of the same run: what is compared must have been read twice.
                export_saved_model(TrainedRun(trained.run.path), folder / "new" / "served")
            (folder / "finished").touch()
    path = folder / "new" / "served" / "1"
    return Export(path, json.loads((path / "export.json").read_text(encoding="utf-8")))


@pytest.fixture(scope="session")
def exported_images(trained: TrainedRun, shared_folder: Path) -> Path:
    """An export of signatures of images alone, which do not use TensorFlow Text."""
    folder = shared_folder / "exported_images"
    with FileLock(shared_folder / "exported_images.lock"):
        if not (folder / "finished").exists():
            with small_cnn():
                run = TrainedRun(trained.run.path)
                export_saved_model(run, folder / "served", names=["greedy", "beam"])
            (folder / "finished").touch()
    return folder / "served" / "1"


@pytest.fixture(scope="session")
def written(trained: TrainedRun, pictures: list[bytes], shared_folder: Path) -> Export:
    """The run as TFLite files, in all variants."""
    folder = shared_folder / "written"
    with FileLock(shared_folder / "written.lock"):
        if not (folder / "finished").exists():
            with small_cnn():
                export_tflite(
                    TrainedRun(trained.run.path),
                    folder / "new",
                    images=pictures,
                    calibration=lambda count: pictures[:count],
                )
            (folder / "finished").touch()
    path = folder / "new" / "1"
    return Export(path, json.loads((path / "export.json").read_text(encoding="utf-8")))


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
