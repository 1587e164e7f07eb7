"""Compares the speed of `validate` with that of decoding the same files.

    python benchmarks/validate.py Flickr8k/Flicker8k_Dataset

Both use all cores, with files in the disk cache, and alternate; the best of three rounds counts.
"""

import argparse
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from visem_tf.runtime.startup import start_tensorflow


def main() -> None:
    """Prints images per second of both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pictures", type=int, default=2_000)
    options = parser.parse_args()
    start_tensorflow()
    import tensorflow as tf

    from visem_tf.datasets.folder_builder import read_ahead
    from visem_tf.datasets.records import Record
    from visem_tf.datasets.validation import check_image

    paths = sorted(options.folder.glob("*.jpg"))[: options.pictures]
    records = [Record(path.name, path, ["a picture"]) for path in paths]

    def decode(path: Path) -> None:
        tf.io.decode_jpeg(path.read_bytes(), channels=3, dct_method="INTEGER_ACCURATE")

    def plain() -> None:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(decode, paths))

    def looked_at() -> None:
        for _, future in read_ahead(records, check_image):
            future.result()

    def rate(work: Callable[[], None]) -> float:
        started = time.perf_counter()
        work()
        return len(paths) / (time.perf_counter() - started)

    plain()
    rounds = [(rate(plain), rate(looked_at)) for _ in range(3)]
    decoding, validating = (max(column) for column in zip(*rounds, strict=True))
    print(f"{len(paths):,} images on {os.cpu_count()} cores")
    print(f"plain JPEG decoding {decoding:7.0f} per second")
    print(f"validate            {validating:7.0f} per second, {validating / decoding:.2f} of it")


if __name__ == "__main__":
    main()
