"""Times every hot path at three sizes, beside its matrix products and plain NumPy.

    python -m benchmarks [--quick] [--only brnn,mrf] [--json benchmarks.json]

Prints one line per case: time, throughput, peak memory of the process so far (every path runs in a
process of its own, at rising sizes), the ratio to the bare matrix products, the speed-up over plain
NumPy (`benchmarks.reference`) and, for training, the share of time spent waiting for input. Every
round runs all three in turn; see `benchmarks.measuring`. NumPy uses one thread unless
OPENBLAS_NUM_THREADS says otherwise. With a GPU, our code and the products run on it.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# NumPy threads busy-wait for each other: on shared cores, two are slower than one.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from benchmarks.case import SIZES
from benchmarks.paths import PATHS, cases_of
from visem_tf.runtime.files import write_atomically
from visem_tf.runtime.startup import start_tensorflow

_QUICK = {"rounds": 2, "sizes": SIZES[:1]}
_HEAD = ("time", "a second", "peak MiB", "products", "NumPy", "waits")


def main() -> None:
    """Measures, prints the table, and writes the JSON file."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--quick", action="store_true", help="the smallest size, two rounds")
    parser.add_argument("--only", default="", help=f"paths, of {','.join(PATHS)}")
    parser.add_argument("--sizes", default="", help=f"sizes, of {','.join(SIZES)} (default: all)")
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds of a case (default: 5)")
    parser.add_argument(
        "--json", type=Path, default=Path("benchmarks.json"), help="file for the figures"
    )
    options = parser.parse_args()
    paths = _chosen(parser, "--only", options.only, tuple(PATHS))
    sizes = _chosen(parser, "--sizes", options.sizes, SIZES)
    rounds = options.rounds
    if options.quick:
        rounds, sizes = _QUICK["rounds"], _QUICK["sizes"]
    if rounds < 1:
        parser.error(f"--rounds must be at least 1, not {rounds}")
    if len(paths) == 1:
        found = _measure(paths[0], sizes, rounds, options.json)
    else:
        found = _in_processes(paths, sizes, rounds)
        write_atomically(options.json, json.dumps(found, indent=1) + "\n")
    print(f"\n{len(found['results'])} cases: {options.json}")


def _in_processes(paths: tuple[str, ...], sizes: tuple[str, ...], rounds: int) -> dict[str, Any]:
    """Measures every path in a process of its own."""
    parts = []
    with tempfile.TemporaryDirectory() as folder:
        for path in paths:
            part = Path(folder) / f"{path}.json"
            command = [sys.executable, "-m", "benchmarks", "--only", path, "--json", str(part)]
            command += ["--sizes", ",".join(sizes), "--rounds", str(rounds)]
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
                for line in process.stdout or ():
                    if str(part) not in line:
                        print(line, end="", flush=True)
            if process.returncode:
                raise SystemExit(f"{path} ended with status {process.returncode}")
            parts.append(json.loads(part.read_text(encoding="utf-8")))
    results = [result for part in parts for result in part["results"]]
    return {**parts[0], "results": results}


def _measure(path: str, sizes: tuple[str, ...], rounds: int, file: Path) -> dict[str, Any]:
    """Measures a path in this process, prints its lines, and saves the results after every case."""
    start_tensorflow()
    import keras

    from benchmarks.measuring import measure

    results: list[dict[str, Any]] = []
    found = {"machine": machine(), "rounds": rounds, "results": results}
    print(f"\n{path:44}" + "".join(f"{name:>12}" for name in _HEAD), flush=True)
    for size in sizes:
        for case in cases_of(path)(size):
            results.append(measure(case, rounds))
            write_atomically(file, json.dumps(found, indent=1) + "\n")
            print(_line(results[-1]), flush=True)
            del case
        keras.backend.clear_session()
        gc.collect()
    return found


def _chosen(
    parser: argparse.ArgumentParser, option: str, text: str, known: tuple[str, ...]
) -> tuple[str, ...]:
    names = tuple(name for name in text.split(",") if name) or known
    for name in names:
        if name not in known:
            parser.error(f"{option} must be of {', '.join(known)}, not {name!r}")
    return names


def _line(figures: dict[str, Any]) -> str:
    name = f"{figures['path']} [{figures['size']}]"
    cells = [
        f"{1000 * figures['seconds']:,.1f} ms",
        f"{figures['per_second']:,.0f}",
        f"{figures['peak_mib']:,.0f}",
        f"{figures['times_floor']:.2f} x" if "times_floor" in figures else "",
        f"{figures['times_reference']:.1f} x" if "times_reference" in figures else "",
        f"{figures['waiting']:.1%}" if "waiting" in figures else "",
    ]
    return f"{name:44}" + "".join(f"{cell:>12}" for cell in cells)


def machine() -> dict[str, Any]:
    """Returns a description of the machine."""
    import keras
    import numpy as np
    import tensorflow as tf

    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),  # load average of other work
        "gpus": [
            tf.config.experimental.get_device_details(gpu).get("device_name", gpu.name)
            for gpu in tf.config.list_physical_devices("GPU")
        ],
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


if __name__ == "__main__":
    main()
