"""Do exports say what Python says, on many pictures of the test split of a run?

    python benchmarks/export_parity.py --run-dir runs/f8k --saved-model to/1 --tflite on_device/1

Prints, for the SavedModel through the session loader (pictures one by one, and 32 at a time) and
for every TFLite file there is (one by one), how many texts are those of Python, and BLEU-4 of the
captions that a beam writes, beside Python's. Regions are
compared one by one, and in float32 alone.
"""

import argparse
import os
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from visem_tf.datasets.loading import load_dataset
from visem_tf.export.parity import SessionModel, Texts, identical, texts_in_python, texts_of_export
from visem_tf.export.tflite import texts_of_file
from visem_tf.export.tflite_model import TfliteModel

from visem_tf.metrics.captions import CaptionScorer
from visem_tf.regions.extractor import Regions
from visem_tf.trained import TrainedRun

TOGETHER = 32


def main() -> None:
    """Compares everything and prints a line a question."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run-dir", required=True)
    parser.add_argument("--saved-model", type=Path, help="the folder of a version")
    parser.add_argument("--tflite", type=Path, help="the folder of a version")
    parser.add_argument("--data-dir", default="", help="where the run's data set is now")
    parser.add_argument("--cache-dir", default="")
    parser.add_argument("--pictures", type=int, default=200)
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
    each = [run.extractor.extract([picture]) for picture in pictures]
    regions = Regions(*(np.concatenate(parts) for parts in zip(*each, strict=True)))
    expected = texts_in_python(run, regions)
    systems: dict[str, tuple[Texts, float]] = {"Python": (expected, 0.0)}

    if options.saved_model:
        started = time.perf_counter()
        model = SessionModel(options.saved_model)
        print(f"the session loader took {time.perf_counter() - started:.1f} s")
        size = _size(options.saved_model)
        systems["SavedModel"] = texts_of_export(model, pictures), size
        together = texts_of_export(model, pictures, ("greedy", "beam"), together=TOGETHER)
        systems[f"SavedModel, {TOGETHER} at a time"] = together, size
        model.close()
    for path in sorted(options.tflite.glob("*.tflite")) if options.tflite else ():
        with_regions = path.stem.endswith("float32")
        said = texts_of_file(TfliteModel(path), pictures, with_regions=with_regions)
        systems[path.name] = said, _size(path)

    image_ids = split.image_ids[: len(pictures)]
    references = {image_id: split.references()[image_id] for image_id in image_ids}
    captions = {
        system: dict(zip(image_ids, (texts[0] for texts in said["beam"]), strict=True))
        for system, (said, _) in systems.items()
        if "beam" in said
    }
    with CaptionScorer(with_meteor=False) as scorer:
        scores = scorer.score(references, captions) if captions else {}
    print(f"{len(pictures)} test pictures of {run.config.dataset}")
    for system, (said, size) in systems.items():
        line = [f"{system:<32}", f"{size / 1e6:7.2f} MB" if size else " " * 10]
        if system in scores:
            line.append(f"B-4 {scores[system].scores['bleu4']:.2f}")
        line += [
            f"{question} {count['identical']}/{count['texts']}"
            for question, count in identical(expected, said).items()
        ]
        print("  ".join(line))


def _size(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    files = [path] if path.is_file() else path.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file())


if __name__ == "__main__":
    main()
