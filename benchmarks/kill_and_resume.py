"""Kills `fit` in the middle of each stage and compares the resumed run with an uninterrupted one.

    python benchmarks/kill_and_resume.py --preset smoke

All arguments are passed to `visem_tf.fit`. The command first runs uninterrupted with a cache of its
own, which also measures the duration of each stage. It then runs with another run directory and
cache, is killed (SIGKILL) half-way through the first stage, restarted, killed half-way through the
second, and so on. The results must be identical, file by file.
"""

import json
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

STAGES = ("features", "align", "infer", "generate", "evaluate", "report", "export")
SAME = ("vocabulary.txt", "alignments.jsonl", "captions_test.json", "captions_test_greedy.json")


def command(folder: Path) -> list[str]:
    """Returns the command line of `fit` with its run directory and cache in a folder."""
    own = ["--run-dir", str(folder / "run"), "--cache-dir", str(folder / "cache")]
    return [sys.executable, "-u", "-m", "visem_tf.fit", *sys.argv[1:], *own]


def run_until(folder: Path, stage: str = "", seconds: float = 0.0) -> bool:
    """Runs `fit`, kills it some seconds after a stage began, and returns whether it was killed."""
    process = subprocess.Popen(command(folder), stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if stage and f"] {stage}: started" in line:
            time.sleep(seconds)
            process.send_signal(signal.SIGKILL)
            break
    return process.wait() == -signal.SIGKILL


def metrics(folder: Path) -> dict[str, object]:
    """Returns the metrics without times."""
    found = json.loads((folder / "run" / "metrics.json").read_text())
    return {name: value for name, value in found.items() if name != "timing"}


def main() -> None:
    """Runs, kills and compares; exits with status 1 if anything differs or was killed too late."""
    with tempfile.TemporaryDirectory() as name:
        whole, broken = Path(name) / "whole", Path(name) / "broken"
        run_until(whole)
        state = json.loads((whole / "run" / "state.json").read_text())
        same = True
        for stage in STAGES:
            half = state["stages"][stage]["seconds"] / 2
            killed = run_until(broken, stage, half)
            stages = json.loads((broken / "run" / "state.json").read_text()).get("stages", {})
            in_time = killed and not stages.get(stage, {}).get("done", False)
            where = "in its middle" if in_time else "TOO LATE"
            same &= in_time
            print(f"{stage}: killed after {half:.1f} s, {where}", flush=True)
        run_until(broken)
        for file in SAME:
            equal = (whole / "run" / file).read_bytes() == (broken / "run" / file).read_bytes()
            same &= equal
            print(f"{file}: {'the same bytes' if equal else 'DIFFERENT'}")
        equal = metrics(whole) == metrics(broken)
        print(f"metrics.json without its times: {'the same' if equal else 'DIFFERENT'}")
    sys.exit(0 if same and equal else 1)


if __name__ == "__main__":
    main()
