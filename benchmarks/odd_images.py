"""Measures the peak memory of commands and of the SavedModel on ordinary and on odd images.

    python benchmarks/odd_images.py --run-dir R

R is a finished run with its export. The odd images are of all sizes, modes and formats, damaged, or
no images at all. Every line is the peak memory of one process in MiB; memory that does not grow
with the number of images is constant.
"""

import argparse
import io
import json
import os
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SERVED = """
import sys
from pathlib import Path
from visem_tf.runtime.startup import start_tensorflow
start_tensorflow()
import tensorflow as tf
import tensorflow_text
greedy = tf.saved_model.load(sys.argv[1]).signatures["greedy"]
paths = sorted(Path(sys.argv[2]).iterdir())
for start in range(0, len(paths), 8):
    encoded = [path.read_bytes() for path in paths[start : start + 8]]
    greedy(image_bytes=tf.constant(encoded))
"""

Rng = np.random.Generator


def main() -> None:
    """Prints one line for each kind and number of images, and part."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run-dir", type=Path, required=True)
    parser.add_argument("--pictures", type=int, nargs="+", default=[200, 1_000])
    options = parser.parse_args()
    for count in options.pictures:
        for kind, makers in (("ordinary", [ordinary]), ("odd", ODD)):
            with tempfile.TemporaryDirectory() as folder:
                data = Path(folder) / "data"
                write(data, makers, count)
                images = str(data / "images")
                for part, arguments in (
                    ("validate", ["-m", "visem_tf.validate", "--data-dir", str(data)]),
                    ("describe", ["-m", "visem_tf.describe", images, "--run-dir", options.run_dir]),
                    ("SavedModel", ["-c", SERVED, options.run_dir / "saved_model" / "1", images]),
                ):
                    status, peak = run([str(each) for each in arguments], folder)
                    case = f"{count:>6,} {kind:<8} images, {part:<10}"
                    print(f"{case} status {status}, {peak:6.0f} MiB", flush=True)


def run(arguments: Sequence[str], folder: str) -> tuple[int, float]:
    """Runs Python in a process of its own; returns its status and its peak memory in MiB."""
    with Path(folder, "output").open("wb") as output:
        process = subprocess.Popen([sys.executable, *arguments], stdout=output, stderr=output)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1, 2):
        sys.exit(Path(folder, "output").read_text(errors="replace")[-2000:])
    return process.returncode, usage.ru_maxrss / 1024


def write(folder: Path, makers: Sequence[Callable[[Rng], bytes]], count: int) -> None:
    """Writes images with a caption each, as the data set `coco_json` has them."""
    rng = np.random.default_rng(0)
    (folder / "images").mkdir(parents=True)
    images, captions = [], []
    for number in range(count):
        name = f"{number:05d}.jpg"
        (folder / "images" / name).write_bytes(makers[number % len(makers)](rng))
        split = ("train", "train", "val", "test")[number // len(makers) % 4]
        images.append({"id": number, "file_name": name, "split": split})
        captions.append({"id": number, "image_id": number, "caption": "a dog runs"})
    content = {"images": images, "annotations": captions}
    (folder / "captions.json").write_text(json.dumps(content))


def encoded(
    rng: Rng, width: int, height: int, mode: str = "RGB", kind: str = "JPEG", **options: Any
) -> bytes:
    """A file of an image of random patches with some noise."""
    patches = rng.integers(0, 256, [4, 4, 3], dtype=np.uint8)
    image = Image.fromarray(patches).resize((width, height)).convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def ordinary(rng: Rng) -> bytes:
    """A photograph."""
    return encoded(rng, 500, 375)


def _noise(rng: Rng) -> bytes:
    pixels = rng.integers(0, 256, [1200, 1600, 3], dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()


def _grey_16(rng: Rng) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(rng.integers(0, 4096, [300, 400]).astype(np.uint16)).save(buffer, "PNG")
    return buffer.getvalue()


def _animated(rng: Rng, kind: str) -> bytes:
    frames = [
        Image.fromarray(rng.integers(0, 256, [120, 160, 3], dtype=np.uint8)) for _ in range(12)
    ]
    buffer = io.BytesIO()
    frames[0].save(buffer, kind, save_all=True, append_images=frames[1:])
    return buffer.getvalue()


def _rotated(rng: Rng) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(rng, 1200, 900, exif=exif)


def _declared(width: int, height: int) -> bytes:
    """A PNG of a header without pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">I", 13)
        + header
        + struct.pack(">I", zlib.crc32(header))
    )


ODD: list[Callable[[Rng], bytes]] = [
    ordinary,
    lambda rng: encoded(rng, 1, 1),
    lambda rng: encoded(rng, 1, 900, kind="PNG"),
    lambda rng: encoded(rng, 10_000, 3),
    lambda rng: encoded(rng, 3, 10_000, kind="PNG"),
    lambda rng: encoded(rng, 4_000, 3_000),
    lambda rng: encoded(rng, 640, 480, "L"),
    lambda rng: encoded(rng, 640, 480, "CMYK"),
    lambda rng: encoded(rng, 640, 480, "RGBA", "PNG"),
    lambda rng: encoded(rng, 640, 480, "P", "PNG", transparency=3),
    lambda rng: encoded(rng, 640, 480, "1", "PNG"),
    lambda rng: encoded(rng, 640, 480, "LA", "PNG"),
    _grey_16,
    lambda rng: _animated(rng, "GIF"),
    lambda rng: _animated(rng, "WEBP"),
    _rotated,
    lambda rng: encoded(rng, 640, 480, exif=rng.bytes(400)),
    lambda rng: encoded(rng, 800, 600, progressive=True),
    lambda rng: encoded(rng, 800, 600, kind="TIFF"),
    lambda rng: encoded(rng, 640, 480, kind="BMP"),
    lambda rng: encoded(rng, 640, 480, "F", "TIFF"),
    lambda rng: _noise(rng)[:-100_000],
    lambda rng: encoded(rng, 640, 480, kind="PNG")[:-40],
    lambda rng: _declared(100_000, 100_000),
    lambda rng: _declared(11_000, 9_000),
    lambda rng: b"",
    lambda rng: b"%PDF-1.4 " + rng.bytes(1000),
]
"""Makers of odd images."""


if __name__ == "__main__":
    main()
