"""Where the seconds of a command go: imports, building models, weights, tracing, and the rest.

    python -m benchmarks.startup FILE describe --engine tensorflow photo.jpg

Runs the command, looks every few milliseconds at what it is doing, and writes the seconds of each
part to FILE, as JSON. The innermost call that belongs to a part counts: an import in a graph that
is being traced is an import. The rest is reading images, optimising graphs and computing.
"""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import FrameType

PARTS = ("imports", "building", "weights", "tracing", "rest")
_FUNCTIONS = {
    "load_backbone": "building",
    "build_network": "building",
    "build_proposer": "building",
    "read_network": "building",
    "load_model": "building",
    "read_weights": "building",
    "read_arrays": "weights",
    "read_torch_weights": "weights",
    "assign": "weights",
    "_assign": "weights",
    "_frozen": "weights",
    "func_graph_from_py_func": "tracing",
}
_SECONDS_BETWEEN_LOOKS = 0.002


def measure_parts(command: str, *arguments: str) -> dict[str, float]:
    """Returns the seconds of each part of a command, which runs in a process of its own.

    "process" is the time outside of its `main`, in which Python starts and ends.

    Args:
        command: Name after `python -m visem_tf.`.
        *arguments: Its arguments.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "parts.json"
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "benchmarks.startup", str(file), command, *arguments],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        seconds = time.perf_counter() - began
        parts: dict[str, float] = json.loads(file.read_text(encoding="utf-8"))
    return {**parts, "process": seconds - sum(parts.values())}


def part_of(frame: FrameType | None) -> str:
    """Returns the part to which the innermost call that belongs to one belongs."""
    while frame:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return "imports"
        if part := _FUNCTIONS.get(frame.f_code.co_name):
            return part
        frame = frame.f_back
    return "rest"


class Observer(threading.Thread):
    """Looks at what a thread is doing, and adds the time since the last look to its part.

    Args:
        thread: Identifier of the thread.
    """

    def __init__(self, thread: int) -> None:
        super().__init__(daemon=True)
        self.thread = thread
        self.seconds = dict.fromkeys(PARTS, 0.0)
        self._end = threading.Event()

    def run(self) -> None:
        """Looks until `stop` is called."""
        last = time.perf_counter()
        while not self._end.wait(_SECONDS_BETWEEN_LOOKS):
            part = part_of(sys._current_frames().get(self.thread))
            now = time.perf_counter()
            self.seconds[part] += now - last
            last = now

    def stop(self) -> dict[str, float]:
        """Returns the seconds of each part."""
        self._end.set()
        self.join()
        return self.seconds


def main() -> None:
    """Runs the command of the command line, and writes the seconds of its parts."""
    file, command, *arguments = sys.argv[1:]
    sys.argv[1:] = arguments
    observer = Observer(threading.get_ident())
    observer.start()
    try:
        runpy.run_module(f"visem_tf.{command}", run_name="__main__", alter_sys=True)
    finally:
        Path(file).write_text(json.dumps(observer.stop()), encoding="utf-8")


if __name__ == "__main__":
    main()
