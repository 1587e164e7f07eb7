"""Times every path of visem_tf at three sizes, beside its matrix products and plain NumPy.

    python -m benchmarks [--quick] [--only brnn,mrf] [--json benchmarks.json]

A line a case: time, throughput, the memory that it added at its highest, the ratio to the bare
matrix products, how many times faster it is than the same in plain NumPy (`benchmarks.reference`),
and for training the share of time that it waited for input. All three are timed in turn in every
round; see `benchmarks.measuring`. NumPy has one thread, unless OPENBLAS_NUM_THREADS says otherwise.
Where there is a GPU, our code and the products run on it.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Its threads wait actively for each other: where others want the cores, two are slower than one.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from benchmarks.case import SIZES
from benchmarks.paths import PATHS, cases_of
from visem_tf.files import write_atomically
from visem_tf.quiet import start_tensorflow

_QUICK = {"rounds": 2, "sizes": SIZES[:1]}
_HEAD = ("time", "a second", "+ MiB", "products", "NumPy", "waits")


def main() -> None:
    """Measures, prints the table, and writes the JSON beside it."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--quick", action="store_true", help="the smallest size, two rounds")
    parser.add_argument("--only", default="", help=f"paths, of {','.join(PATHS)}")
    parser.add_argument("--sizes", default="", help=f"sizes, of {','.join(SIZES)} (default: all)")
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds of a case (default: 5)")
    parser.add_argument(
        "--json", type=Path, default=Path("benchmarks.json"), help="where the figures go"
    )
    options = parser.parse_args()
    paths = _chosen(parser, "--only", options.only, tuple(PATHS))
    sizes = _chosen(parser, "--sizes", options.sizes, SIZES)
    rounds = options.rounds
    if options.quick:
        rounds, sizes = _QUICK["rounds"], _QUICK["sizes"]
    if rounds < 1:
        parser.error(f"--rounds must be at least 1, not {rounds}")
    start_tensorflow()
    import keras

    from benchmarks.measuring import measure

    results: list[dict[str, Any]] = []
    found = {"machine": machine(), "rounds": rounds, "results": results}
    for path in paths:
        for size in sizes:
            for case in cases_of(path)(size):
                figures = measure(case, rounds)
                results.append(figures)
                write_atomically(options.json, json.dumps(found, indent=1) + "\n")
                if (
                    len(results) == 1
                    or results[-2]["path"].split(",")[0] != case.path.split(",")[0]
                ):
                    print(f"\n{'':44}" + "".join(f"{name:>12}" for name in _HEAD))
                print(_line(figures), flush=True)
                del case
            keras.backend.clear_session()
            gc.collect()
    print(f"\nfigures: {options.json}")


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
        "" if figures["peak_mib"] is None else f"{figures['peak_mib']:,.0f}",
        f"{figures['times_floor']:.2f} x" if "times_floor" in figures else "",
        f"{figures['times_reference']:.1f} x" if "times_reference" in figures else "",
        f"{figures['waiting']:.1%}" if "waiting" in figures else "",
    ]
    return f"{name:44}" + "".join(f"{cell:>12}" for cell in cells)


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    import keras
    import numpy as np
    import tensorflow as tf

    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
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
