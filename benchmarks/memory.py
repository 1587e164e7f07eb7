"""Measures the peak memory of preparing data, extracting features, and one epoch of alignment.

    python benchmarks/memory.py

Writes 2,000 and then 20,000 tiny images with five sentences each in the format of `coco_json`, and
runs every part in a process of its own. Each line is the peak memory of one process in MiB.
Constant memory does not depend on the number of images.
"""

import argparse
import io
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

PREPARE = """
from visem_tf.datasets.loading import load_dataset
load_dataset("coco_json", cache_dir=CACHE, data_dir=DATA)
"""
STAGES = """
from visem_tf import fit
fit.main(["--dataset", "coco_json", "--data-dir", DATA, "--cache-dir", CACHE, "--run-dir", RUN,
    "--preset", "smoke", "--regions.proposer", "none", "--regions.num_regions", "1",
    "--regions.picture_size", "32", "--regions.frame_size", "32", "--regions.batch_size", "64",
    "--align.batch_size", "100", "--align.epochs", "1", "--stages", STAGE])
"""
PEAK = """
import resource
print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def main() -> None:
    """Prints one line for each size and part."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, nargs="+", default=[2_000, 20_000])
    for count in parser.parse_args().pictures:
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            make(root / "data", count)
            for part, source in (
                ("preparing", PREPARE),
                ("features", STAGES.replace("STAGE]", '"features"]')),
                ("one epoch", STAGES.replace("STAGE]", '"align"]')),
            ):
                names = {"DATA": "data", "CACHE": "cache", "RUN": "run"}
                given = "".join(f"{k} = {str(root / v)!r}\n" for k, v in names.items())
                quiet = (
                    "from visem_tf.runtime.startup import start_tensorflow\nstart_tensorflow()\n"
                )
                print(f"{count:>7,} images, {part:<10} {peak(quiet + given + source):7.0f} MiB")


def make(folder: Path, count: int) -> None:
    """Writes images of 24 x 24 pixels with five sentences each."""
    rng = np.random.default_rng(0)
    words = [f"word{number}" for number in range(3000)]
    (folder / "images").mkdir(parents=True)
    images, captions = [], []
    for number in range(count):
        buffer = io.BytesIO()
        pixels = rng.integers(0, 256, (24, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(buffer, "JPEG")
        name = f"{number:06d}.jpg"
        (folder / "images" / name).write_bytes(buffer.getvalue())
        split = ("val", "test")[number % 2] if number < 200 else "train"
        images.append({"id": number, "file_name": name, "split": split})
        for _ in range(5):
            text = " ".join(rng.choice(words, 11))
            captions.append({"id": len(captions), "image_id": number, "caption": text})
    content = {"images": images, "annotations": captions}
    (folder / "captions.json").write_text(json.dumps(content))


def peak(source: str) -> float:
    """Runs Python source in a process of its own and returns its peak memory in MiB."""
    done = subprocess.run(
        [sys.executable, "-c", source + PEAK], capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(done.stderr)
    return float(done.stdout.split()[-1])


if __name__ == "__main__":
    main()
