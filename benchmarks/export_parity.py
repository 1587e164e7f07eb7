"""Compares the texts of exports with those of Python on many images of a run's test split.

    python benchmarks/export_parity.py --run-dir runs/f8k --saved-model to/1 --tflite on_device/1

For the SavedModel through the session loader (images one at a time, and in batches of 32) and for
every TensorFlow Lite file (one at a time), prints how many texts equal those of Python, and BLEU-4
of the beam search captions beside Python's. Region descriptions are compared for the first 50
images, one at a time, and for float32 only.
"""

import argparse
import os
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

from visem_tf.datasets.loading import load_dataset
from visem_tf.export.parity import (
    SessionModel,
    Texts,
    count_identical,
    extract_one_by_one,
    texts_in_python,
    texts_of_export,
)
from visem_tf.export.tflite.model import TfliteModel
from visem_tf.export.tflite.writer import texts_of_file
from visem_tf.images.prepare import prepare_image
from visem_tf.metrics.captions import CaptionScorer
from visem_tf.regions.extractor import FRAME, Regions
from visem_tf.runs.trained_run import TrainedRun

TOGETHER = 32
CAPTIONS = ("greedy", "beam")
REGIONS = ("describe_regions", "describe_regions_beam")


def main() -> None:
    """Compares all exports and prints one line per comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run-dir", required=True)
    parser.add_argument("--saved-model", type=Path, help="the folder of a version")
    parser.add_argument("--tflite", type=Path, help="the folder of a version")
    parser.add_argument("--data-dir", default="", help="folder of the data set, if it has moved")
    parser.add_argument("--cache-dir", default="")
    parser.add_argument("--pictures", type=int, default=200)
    parser.add_argument("--with-regions", type=int, default=50, help="pictures with their regions")
    options = parser.parse_args()

    moved = {name: getattr(options, name) for name in ("data_dir", "cache_dir")}
    run = TrainedRun(options.run_dir)
    run = TrainedRun(options.run_dir, run.config.updated({n: v for n, v in moved.items() if v}))
    name, _, variant = run.config.dataset.partition("/")
    data = load_dataset(
        name,
        cache_dir=run.config.cache_dir,
        data_dir=run.config.data_dir or None,
        config=variant or None,
        options=run.config.data,
    )
    split = data.splits["test"]
    pictures = list(split.pictures().take(options.pictures).as_numpy_iterator())
    some = pictures[: options.with_regions]
    expected = texts_in_python(run, frames_of(run, pictures), CAPTIONS)
    expected |= texts_in_python(run, extract_one_by_one(run, some), REGIONS)
    systems = {"Python": expected}
    print(f"{len(pictures)} test images of {run.config.dataset}, {len(some)} with regions")

    if options.saved_model:
        started = time.perf_counter()
        model = SessionModel(options.saved_model)
        print(f"the session loader took {time.perf_counter() - started:.1f} s")
        alone = texts_of_export(model, pictures, CAPTIONS) | texts_of_export(model, some, REGIONS)
        systems["SavedModel"] = alone
        report("SavedModel", expected, alone, options.saved_model)
        together = texts_of_export(model, pictures, CAPTIONS, batch_size=TOGETHER)
        report(f"SavedModel, {TOGETHER} at a time", expected, together, options.saved_model)
        model.close()
    for path in sorted(options.tflite.glob("*.tflite")) if options.tflite else ():
        model = TfliteModel(path)
        said = texts_of_file(model, pictures, with_regions=False)
        if path.stem.endswith("float32"):
            of_regions = texts_of_file(model, some)
            said |= {name: of_regions[name] for name in REGIONS if name in of_regions}
        systems[path.name] = said
        report(path.name, expected, said, path)

    image_ids = split.image_ids[: len(pictures)]
    references = {image_id: split.references()[image_id] for image_id in image_ids}
    captions = {
        system: dict(zip(image_ids, (texts[0] for texts in said["beam"]), strict=True))
        for system, said in systems.items()
    }
    with CaptionScorer() as scorer:
        for system, found in scorer.score(references, captions, with_meteor=False).items():
            print(f"{system:<32}B-4 {found.scores['bleu4']:.2f}")


def frames_of(run: TrainedRun, pictures: list[bytes]) -> Regions:
    """Returns the input of the generator: whole frames, or all regions if it attends to them."""
    if run.full_frame_generator.reads_regions:
        return extract_one_by_one(run, pictures)
    size = run.config.regions.picture_size
    spec = tf.TensorSpec([None, size, size, 3], tf.float32)
    describe = tf.function(run.extractor.extract_frames, input_signature=[spec])
    features = [
        describe(prepare_image(tf.constant(picture), size)[tf.newaxis]) for picture in pictures
    ]
    ones = np.ones([len(pictures), 1])
    return Regions(np.stack(features), ones[..., np.newaxis] * FRAME, ones, ones > 0)


def report(system: str, expected: Texts, said: Texts, path: Path) -> None:
    """Prints the size of a file or folder, and how many texts equal those of Python."""
    files = [path] if path.is_file() else path.rglob("*")
    size = sum(file.stat().st_size for file in files if file.is_file())
    counts = [
        f"{question} {count['identical']}/{count['texts']}"
        for question, count in count_identical(expected, said).items()
    ]
    print(f"{system:<32}{size / 1e6:7.2f} MB", *counts, sep="  ", flush=True)


if __name__ == "__main__":
    main()
