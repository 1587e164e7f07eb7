"""Time that a user waits: for `describe` from start to text, and for captions by the exports."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image

from benchmarks.measuring import Case, Work
from benchmarks.startup import measure_parts
from visem_tf.decoding.captioner import Captioner
from visem_tf.export.parity import SessionModel, sample_images
from visem_tf.export.tflite.model import TfliteModel
from visem_tf.images.find import find_images
from visem_tf.images.prepare import prepare_images
from visem_tf.runs.trained_run import TrainedRun


def start(count: int, given: Namespace) -> Iterator[Case]:
    """Yields `describe` of `count` photographs by the packaged model, from its start to its end.

    The floor is `import tensorflow` alone. The further figures are the seconds of the parts of one
    more run, see `benchmarks.startup`.
    """
    files = [str(path) for path in find_images([given.images])[:count]]
    for engine in ("litert", "tensorflow"):
        arguments = ("--engine", engine, *files)
        yield Case(
            f"describe, --engine {engine}",
            f"{len(files)} photographs",
            "images",
            len(files),
            _command("-m", "visem_tf.describe", *arguments),
            floor=lambda: _command("-c", "import tensorflow"),
            notes=lambda arguments=arguments: measure_parts("describe", *arguments),
        )


def serving(count: int, given: Namespace) -> Iterator[Case]:
    """Yields captions of a batch of `count` images by the exports, with Python as the peer.

    The figure "identical" is the share of captions that equal those of Python. TFLite has a thread
    for every core.
    """
    run = TrainedRun(given.run_dir)
    images, _ = sample_images(run.config, count, folder=given.images)
    session = SessionModel(given.saved_model)
    exports: dict[str, Callable[[str], list[str]]] = {
        "SavedModel": lambda signature: [
            np.ravel(row)[0].decode() for row in session(signature, image_bytes=images)["captions"]
        ]
    }
    if given.tflite:
        lite = TfliteModel(Path(given.tflite), threads=os.cpu_count() or 1)
        exports["TFLite"] = lambda signature: lite.captions(
            lite.frames(lite.squares([_pixels(image) for image in images])),
            beam=signature == "beam",
        )
    for signature in ("greedy", "beam"):
        describe = _in_python(run, images, signature)
        expected = describe()
        yield Case(f"captions by Python, {signature}", "", "images", len(images), describe)
        for name, ask in exports.items():
            same = np.mean([a == b for a, b in zip(expected, ask(signature), strict=True)])
            yield Case(
                f"captions by {name}, {signature}",
                "",
                "images",
                len(images),
                lambda ask=ask, signature=signature: ask(signature),
                peer=lambda describe=describe: describe,
                notes=lambda same=same: {"identical": float(same)},
            )
    session.close()


def _command(*arguments: str) -> Work:
    """Returns the run of a Python process, whose errors end the benchmark."""
    command = [sys.executable, *arguments]
    return lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def _in_python(run: TrainedRun, images: list[bytes], signature: str) -> Callable[[], list[str]]:
    """Returns a function that describes encoded images by the models of a run."""
    generator, settings = run.full_frame_generator, run.config.generate
    beam_size = settings.beam_size if signature == "beam" else 1
    captioner = Captioner(generator, run.vocabulary, settings, beam_size)
    size, resolution = run.config.regions.picture_size, run.config.regions.resolution
    prepare = tf.function(lambda encoded: prepare_images(encoded, size, resolution)[0])
    frames = tf.function(run.extractor.extract_frames)

    def describe() -> list[str]:
        pixels = prepare(tf.constant(images))
        if not generator.reads_regions:
            return captioner(frames(pixels).numpy())[0]
        found = run.extractor.extract_pixels(pixels)
        return captioner.describe_images(found.region_features, found.region_mask)[0]

    return describe


def _pixels(image: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(image)).convert("RGB"))
