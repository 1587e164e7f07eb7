"""Times what takes time, beside the least work that it needs and beside other code.

    python -m benchmarks [PATH …] [--sizes small,middle,large] [--rounds 5] [--json benchmarks.json]

Without names, all paths whose options are given. Every path runs in a process of its own, at rising
sizes. Prints one line per case: the median time and its 95th percentile, throughput, peak memory of
the process so far, how often it takes the time of its floor and how much faster it is than its peer
(medians of the rounds, with the smallest and the largest), and further figures. With a GPU, our
code and the floors run on it. `--sizes quick --rounds 1` runs everything once in little time.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import multiprocessing
import os
import platform
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from benchmarks.paths import PATHS, SIZES, measure_path
from visem_tf.runtime.files import write_atomically
from visem_tf.runtime.startup import start_tensorflow


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures, prints the table, and writes the JSON file."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("paths", nargs="*", metavar="PATH", help=f"of {', '.join(PATHS)}")
    parser.add_argument(
        "--sizes",
        default=",".join(SIZES[1:]),
        help=f"of {','.join(SIZES)}, or numbers (default: all but {SIZES[0]})",
    )
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds of a case (default: 5)")
    parser.add_argument(
        "--json", type=Path, default=Path("benchmarks.json"), help="file for the figures"
    )
    parser.add_argument("--run-dir", help="a run directory or a published model")
    parser.add_argument("--images", help="a folder of photographs")
    parser.add_argument("--saved-model", help="the folder of a version of an export")
    parser.add_argument("--tflite", help="a file of an export, measured beside the SavedModel")
    given = parser.parse_args(arguments)
    for name in given.paths:
        if name not in PATHS:
            parser.error(f"PATH must be of {', '.join(PATHS)}, not {name!r}")
        if missing := [option for option in PATHS[name].needs if not getattr(given, option)]:
            parser.error(f"{name} needs --{', --'.join(missing).replace('_', '-')}")
    sizes = given.sizes.split(",")
    if unknown := [size for size in sizes if size not in SIZES and not size.isdecimal()]:
        parser.error(f"--sizes must be of {','.join(SIZES)}, or numbers, not {unknown[0]!r}")
    if given.rounds < 1:
        parser.error(f"--rounds must be at least 1, not {given.rounds}")
    about, results = machine(), list[dict[str, Any]]()
    possible = [name for name, path in PATHS.items() if all(getattr(given, o) for o in path.needs)]
    for name in given.paths or possible:
        # A process of its own has a peak of memory of its own.
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            results += pool.submit(measure_path, name, sizes, given).result()
        found = {"machine": about, "rounds": given.rounds, "results": results}
        write_atomically(given.json, json.dumps(found, indent=1) + "\n")
    print(f"\n{len(results)} cases: {given.json}")


def machine() -> dict[str, Any]:
    """Returns a description of the machine."""
    start_tensorflow()
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    details = tf.config.experimental.get_device_details
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": names[0] if names else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),  # of other work, before the measurement
        "gpus": [details(gpu).get("device_name", gpu.name) for gpu in gpus],
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in ("tensorflow", "keras", "numpy")},
    }


if __name__ == "__main__":
    main()
