"""Measures the time from the start of a process to the text of an image.

    python benchmarks/fast_start.py --run-dir published/f8k photo.jpg

The processes are `visem_tf.describe` by LiteRT and by TensorFlow, and `import tensorflow` alone.
They alternate round by round, so that other work on the machine affects all of them; the first
round, which may prepare the model, is a warm-up. The last column is the ratio of the medians to
that of `import tensorflow`.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time


def main() -> None:
    """Times all processes and prints one line for each."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("image", help="an image")
    parser.add_argument("--run-dir", required=True, help="a published model")
    parser.add_argument("--cache-dir", default="~/.cache/visem_tf")
    parser.add_argument("--rounds", type=int, default=5, help="rounds that count (default: 5)")
    options = parser.parse_args()

    describe = ["-m", "visem_tf.describe", "--run-dir", options.run_dir, options.image]
    describe += ["--cache-dir", options.cache_dir, "--engine"]
    commands = {
        "describe by LiteRT": [*describe, "litert"],
        "describe by TensorFlow": [*describe, "tensorflow"],
        "import tensorflow": ["-c", "import tensorflow; print()"],
    }
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(options.rounds + 1):
        for name, command in commands.items():
            seconds[name].append(seconds_to_first_line(command))
    medians = {name: statistics.median(times[1:]) for name, times in seconds.items()}
    print(f"{'seconds to the first text':<28}{'median':>8}{'best':>8}{'ratio':>8}")
    for name, times in seconds.items():
        ratio = medians[name] / medians["import tensorflow"]
        print(f"  {name:<26}{medians[name]:8.2f}{min(times[1:]):8.2f}{ratio:8.2f}")


def seconds_to_first_line(arguments: list[str]) -> float:
    """Returns the seconds from the start of a Python process to the first line that it prints."""
    environment = {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONUNBUFFERED": "1", **os.environ}
    started = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        elapsed = time.perf_counter() - started
        process.stdout.read()
    if process.returncode or not line:
        raise SystemExit(f"python {' '.join(arguments)} ended with status {process.returncode}")
    return elapsed


if __name__ == "__main__":
    main()
