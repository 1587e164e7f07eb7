r"""Measures the time from image to caption in Python, the session loader, and TensorFlow Lite.

    python benchmarks/serving_latency.py --run-dir runs/f8k --saved-model to/1 \
        --tflite on_device/1/captions-float32.tflite --pictures Flicker8k_Dataset

The input is an encoded image, the output text. The three systems alternate round by round, so that
other work on the machine affects all of them; the first round is a warm-up. The parts are timed in
Python, each as one graph. TensorFlow Lite uses one thread per core. `--beside RUN` adds another run
in Python.
"""

import argparse
import io
import os
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
from PIL import Image

from visem_tf.decoding.captioner import Captioner
from visem_tf.export.parity import SessionModel, sample_images
from visem_tf.export.tflite.model import TfliteModel
from visem_tf.images.prepare import prepare_images
from visem_tf.runs.trained_run import TrainedRun

Ask = Callable[[list[bytes]], object]


def main() -> None:
    """Times all systems and prints one line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run-dir", required=True)
    parser.add_argument("--saved-model", required=True)
    parser.add_argument("--tflite", required=True)
    parser.add_argument("--pictures", required=True, help="a folder of pictures")
    parser.add_argument("--beside", help="another run directory")
    parser.add_argument(
        "--rounds", type=int, default=40, help="rounds with one image; a quarter of them with 32"
    )
    options = parser.parse_args()

    run = TrainedRun(options.run_dir)
    pictures, _ = sample_images(run.config, 64, folder=options.pictures)
    session = SessionModel(options.saved_model)
    lite = TfliteModel(Path(options.tflite), threads=os.cpu_count() or 1)
    beams = run.config.generate.beam_size
    other = TrainedRun(options.beside) if options.beside else None
    print(f"{'milliseconds per call':<28}{'p50':>9}{'p95':>9}")
    for batch in (1, 32):
        rounds = max(options.rounds if batch == 1 else options.rounds // 4, 2)
        for beam in (False, True):
            systems = {
                "Python": in_python(run, beam),
                "session loader": in_session(session, beam),
                "TFLite": in_tflite(lite, beam),
            }
            if other:
                systems[f"Python, {other.run.path.name}"] = in_python(other, beam)
            name = f"beam {beams}" if beam else "greedy"
            report(f"batch {batch}, {name}", systems, pictures, batch, rounds)
        report(f"batch {batch}, parts", parts(run, pictures[:batch]), pictures, batch, rounds)


def report(
    title: str, systems: dict[str, Ask], pictures: list[bytes], batch: int, rounds: int
) -> None:
    """Alternates systems on batches of images, and prints their times."""
    milliseconds: dict[str, list[float]] = {name: [] for name in systems}
    for number in range(rounds + 1):
        first = number * batch % len(pictures)
        chosen = (pictures[first:] + pictures[:first])[:batch]
        for name, ask in systems.items():
            started = time.perf_counter()
            ask(chosen)
            milliseconds[name].append(1e3 * (time.perf_counter() - started))
    print(f"{title} ({rounds} rounds)")
    for name, times in milliseconds.items():
        middle, slow = np.percentile(times[1:], [50, 95])
        print(f"  {name:<26}{middle:9.1f}{slow:9.1f}", flush=True)


def in_python(run: TrainedRun, beam: bool) -> Ask:
    """Returns the run itself, with the decoding graph of the export."""
    generator, settings = run.full_frame_generator, run.config.generate
    describe = Captioner(generator, run.vocabulary, settings, settings.beam_size if beam else 1)
    decode, frames, _ = graphs(run)

    def ask(pictures: list[bytes]) -> list[str]:
        pixels, _ = decode(tf.constant(pictures))
        if not generator.reads_regions:
            return describe(frames(pixels).numpy())[0]
        regions = run.extractor.compiled(pixels)
        return describe.describe_images(
            regions.region_features.numpy(), regions.region_mask.numpy()
        )[0]

    return ask


def in_session(model: SessionModel, beam: bool) -> Ask:
    """Returns the SavedModel through the session loader."""
    return lambda pictures: model("beam" if beam else "greedy", image_bytes=pictures)


def in_tflite(model: TfliteModel, beam: bool) -> Ask:
    """Returns the TensorFlow Lite model, with Pillow for decoding."""

    def ask(pictures: list[bytes]) -> list[str]:
        decoded = [np.asarray(Image.open(io.BytesIO(p)).convert("RGB")) for p in pictures]
        return model.captions(model.frames(model.squares(decoded)), beam=beam)

    return ask


def graphs(run: TrainedRun) -> tuple[Callable, Callable, Callable]:
    """Returns decoding, the CNN on whole frames, and the proposer, each as a graph."""
    size = run.config.regions.picture_size
    square = [tf.TensorSpec([None, size, size, 3], tf.float32)]
    encoded = [tf.TensorSpec([None], tf.string)]
    return (
        tf.function(lambda rows: prepare_images(rows, size), input_signature=encoded),
        tf.function(run.extractor.extract_frames, input_signature=square),
        tf.function(lambda pixels: tuple(run.extractor.proposer(pixels)), input_signature=square),
    )


def parts(run: TrainedRun, pictures: list[bytes]) -> dict[str, Ask]:
    """Returns the parts of a description on a fixed batch; each ignores the batch it is given."""
    decode, frames, propose = graphs(run)
    encoded = tf.constant(pictures)
    pixels, _ = decode(encoded)
    regions = run.extractor.compiled(pixels)
    extract_boxes = tf.function(
        run.extractor.extract_boxes,
        input_signature=[
            tf.TensorSpec([None, *pixels.shape[1:]], tf.float32),
            tf.TensorSpec([None, *regions.boxes.shape[1:]], tf.float32),
        ],
    )
    features, mask = regions.region_features.numpy(), regions.region_mask.numpy()
    settings = run.config.generate
    greedy, beam = (
        Captioner(run.full_frame_generator, run.vocabulary, settings, beams)
        for beams in (1, settings.beam_size)
    )
    count = regions.boxes.shape[1]
    return {
        "decode JPEG, warp": lambda _: decode(encoded),
        "CNN on the frame": lambda _: frames(pixels),
        "proposals": lambda _: propose(pixels),
        f"CNN on {count} regions": lambda _: extract_boxes(pixels, regions.boxes),
        "words, greedy": lambda _: greedy.describe_images(features, mask),
        f"words, beam {settings.beam_size}": lambda _: beam.describe_images(features, mask),
    }


if __name__ == "__main__":
    main()
