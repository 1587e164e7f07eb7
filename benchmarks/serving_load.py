"""Many clients at once against a stand-in for TensorFlow Serving: throughput and errors.

    python benchmarks/serving_load.py --models to --pictures Flicker8k_Dataset

Starts `tests/support/stand_in.py` on a folder of versions and lets 32 clients ask it for 60
seconds, each for one randomly chosen image at a time. The expected answers come from the session
loader, one image at a time.
"""

import argparse
import collections
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from visem_tf.config import Config
from visem_tf.errors import UserError
from visem_tf.export.client import connect
from visem_tf.export.parity import SessionModel, sample_images

STAND_IN = Path(__file__).parents[1] / "tests" / "support" / "stand_in.py"


def main() -> None:
    """Runs the clients and prints the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", required=True, help="folder of versions")
    parser.add_argument("--pictures", required=True, help="folder of images")
    parser.add_argument("--signature", default="greedy")
    parser.add_argument("--protocol", default="grpc", choices=("grpc", "rest"))
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=60)
    options = parser.parse_args()

    images, _ = sample_images(Config(), 64, folder=options.pictures)
    expected = answers(options.models, options.signature, images)
    print(f"{len(images)} images, {len(set(expected))} different answers", flush=True)
    command = [sys.executable, str(STAND_IN), options.models]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            grpc, rest = server.stdout.readline().split()
            address = grpc if options.protocol == "grpc" else rest
            seen, seconds, took = ask_all(address, options, images, expected)
        finally:
            server.terminate()
    middle, slow = np.percentile(seconds, [50, 95])
    total = sum(seen.values())
    print(
        f"{options.clients} clients, {options.protocol}, {options.signature}: {total} requests in "
        f"{took:.1f} s, {total / took:.1f} a second; p50 {middle:.2f} s, p95 {slow:.2f} s; "
        f"{seen['right']} right, {seen['wrong']} wrong, {seen['error']} errors"
    )


def answers(models: str, signature: str, images: list[bytes]) -> list[bytes]:
    """Returns the best caption of every image, requested one at a time."""
    newest = max(int(path.name) for path in Path(models).iterdir() if path.name.isdecimal())
    model = SessionModel(Path(models) / str(newest))
    found = [model(signature, image_bytes=[image])["captions"] for image in images]
    model.close()
    return [np.ravel(captions)[0] for captions in found]


def ask_all(
    address: str, options: argparse.Namespace, images: list[bytes], expected: list[bytes]
) -> tuple[collections.Counter, list[float], float]:
    """Runs all clients until the time is over.

    Returns:
        Numbers of right answers, wrong answers and errors, the seconds of each request, and the
        seconds of all together.
    """
    seen: collections.Counter = collections.Counter()
    seconds: list[float] = []
    lock = threading.Lock()
    started = time.perf_counter()
    ends = started + options.seconds

    def client(seed: int) -> None:
        rng = random.Random(seed)
        server = connect(address, model="captions", protocol=options.protocol, timeout=300)
        while time.perf_counter() < ends:
            row = rng.randrange(len(images))
            asked = time.perf_counter()
            try:
                outputs = server.predict(options.signature, {"image_bytes": [images[row]]})
                right = np.ravel(outputs["captions"])[0] == expected[row]
                result = "right" if right else "wrong"
            except UserError as error:
                print(error, file=sys.stderr)
                result = "error"
            with lock:
                seen[result] += 1
                seconds.append(time.perf_counter() - asked)

    threads = [threading.Thread(target=client, args=(seed,)) for seed in range(options.clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return seen, seconds, time.perf_counter() - started


if __name__ == "__main__":
    main()
