"""Runs commands on mutated data sets, run directories, images and options; lists what goes wrong.

    python -m tests.fuzz --minutes 5 --seed 0

Every input must end with status 0, with 2 and an error on standard error, or, of `validate`, with
1, within a minute of work, and without waiting for minutes. Input N of a seed is repeated by
`--seed SEED --first N --count 1`, which leaves its files in `now/` in the folder `--work`.
"""

import argparse
import collections
import contextlib
import io
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parent / "support"))

from mutations import VALUES, mutate

import dummy_data
from tests.conftest import quick_stages, run_untrained
from visem_tf.config import Config
from visem_tf.runtime.startup import start_tensorflow

COMMANDS = {"validate": 6, "describe": 2, "search": 2, "evaluate": 1}
"""How often each command is run; the last takes the longest."""
FORMATS = (
    *("flickr8k", "flickr30k", "coco", "visual_genome", "coco_json", "karpathy_json"),
    *("captions_txt", "json_lines", "image_folder", "sidecar_txt", "webdataset", "precomputed"),
)
SENTENCES = ("a dog", "", "狗在跑", "A red ball .", "\0", "a " * 3000, "naïve", "🐕", "?!", "-x")
WORK_SECONDS, WAITING_SECONDS = 60, 300
MAX_BYTES = 12 << 30


class Hang(BaseException):
    """A command that runs for too long."""


class Input(NamedTuple):
    """What is run.

    Attributes:
        command: Name of the command.
        arguments: Arguments of the command.
        changes: Descriptions of what was changed.
    """

    command: str
    arguments: list[str]
    changes: list[str]


def main() -> None:
    """Runs the inputs until the time is over, or all of them were run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--minutes", type=float, default=5, help="time to run for")
    parser.add_argument("--seed", type=int, default=0, help="decides on the inputs")
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--count", type=int, default=10**9, help="number of inputs")
    parser.add_argument("--commands", default=",".join(COMMANDS), help="commands to run")
    parser.add_argument("--work", default="", help="folder of the inputs (default: a new one)")
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MAX_BYTES, MAX_BYTES))
    start_tensorflow()
    work = Path(options.work or tempfile.mkdtemp(prefix="fuzz-")).absolute()
    report = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8", errors="backslashreplace")
    tried: collections.Counter[str] = collections.Counter()
    wrong: collections.Counter[str] = collections.Counter()
    end = time.monotonic() + 60 * options.minutes
    with quick_stages():
        make_base(work)
        for number in range(options.first, options.first + options.count):
            if time.monotonic() > end:
                break
            rng = random.Random(f"{options.seed}:{number}")
            chosen = options.commands.split(",")
            [command] = rng.choices(chosen, [COMMANDS[name] for name in chosen])
            made = make_input(command, work, rng)
            fault = fault_of(made)
            tried[made.command] += 1
            if fault:
                wrong[made.command] += 1
                changed = "; ".join(made.changes)
                print(f"input {number}: {made.command} [{changed}]\n{fault}", file=report)
                print(" ".join(each[:200] for each in made.arguments), end="\n\n", file=report)
            if sum(tried.values()) % 50 == 0:  # what is known if the process is ended
                print("so far:", summary(tried, wrong), file=report)
    print(summary(tried, wrong), file=report)


def summary(tried: collections.Counter[str], wrong: collections.Counter[str]) -> str:
    """Returns the numbers of inputs in all and by command, on one line."""
    counts = [f"{name} {wrong[name]} of {tried[name]}" for name in sorted(tried)]
    return f"{wrong.total()} of {tried.total()} inputs wrong: {', '.join(counts)}"


def make_base(work: Path) -> None:
    """Writes what is mutated into `base/`: a run with its data, images, and data sets."""
    if (work / "base").exists():  # of an earlier call
        return
    folder = work / "now"
    shutil.rmtree(folder, ignore_errors=True)
    images = dummy_data.draw_images(train=6, val=2, test=2)
    for name in FORMATS:
        dummy_data.write(name, folder / "sets" / name, images)
    (folder / "images").mkdir()
    for image in images[:3]:
        (folder / "images" / image.name).write_bytes(image.jpeg)
    run_untrained(folder)
    folder.rename(work / "base")


def make_input(command: str, work: Path, rng: random.Random) -> Input:
    """Makes the files and the arguments of an input.

    Args:
        command: Name of the command.
        work: Folder with `base/`; the files are in `now/`.
        rng: Decides on the input.
    """
    folder, base = work / "now", work / "base"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    arguments: list[str] = []
    if command == "validate":
        name = rng.choice(FORMATS)
        shutil.copytree(base / "sets" / name, folder / "data")
        chosen = rng.choice([name, name, name, "auto", rng.choice(FORMATS)])
        arguments += ["--data-dir", str(folder / "data"), "--dataset", chosen]
        mutable = [folder / "data"]
    else:
        for part in ("run", "cache", "data", "images"):
            shutil.copytree(base / part, folder / part)
        arguments += ["--run-dir", str(folder / "run")]
        mutable = [folder / "run", folder / "run"]
        mutable += [folder / ("cache" if command == "evaluate" else "images")]
        mutable += [folder / "data"] * (command == "evaluate")
    if command == "describe":
        arguments += [str(folder / "images"), "--engine", "tensorflow"]
        if rng.randrange(3) == 0:
            arguments += ["--sentence", rng.choice(SENTENCES)]
    if command == "search":
        arguments += ["--images", str(folder / "images"), rng.choice(SENTENCES)]
    if rng.randrange(3) == 0 or command == "evaluate":
        arguments += ["--json", str(folder / "answer.json")]
    changes = []
    for _ in range(rng.choice([0, 1, 1, 1, 2, 3])):
        files = sorted(path for path in rng.choice(mutable).rglob("*") if path.is_file())
        # Files of weights are large, many, and read by Keras.
        files = [
            path for path in files if path.suffix not in (".keras", ".tfrecord-00000-of-00001")
        ]
        path = rng.choice(files)
        changes.append(f"{mutate(path, rng)} {path.relative_to(folder)}")
    for _ in range(rng.choice([0, 0, 1, 2]) if changes else 1):
        name, value = rng.choice([name for name, _ in Config().flat()]), rng.choice(VALUES)
        if name in ("run_dir", "cache_dir"):  # these would lead out of the folder
            continue
        text = str(value).replace("\0", "").encode("utf-8", "replace").decode()
        arguments += [f"--{name.replace('_', '-') if '.' not in name else name}", text[:400]]
        changes.append(f"--{name} {text[:40]}")
    if "--cache-dir" not in arguments and command == "validate":
        arguments += ["--cache-dir", str(folder / "cache")]
    return Input(command, arguments, changes)


def fault_of(made: Input) -> str:
    """Runs a command; returns what was wrong, or "".

    Args:
        made: The command with its arguments.
    """
    import importlib

    from visem_tf.cli import run_command

    module = importlib.import_module(f"visem_tf.{made.command}")
    errors = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    outputs = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    status: object = None
    try:
        with (
            contextlib.redirect_stdout(outputs),
            contextlib.redirect_stderr(errors),
            limited_time(),
        ):
            run_command(lambda: module.main(made.arguments))
    except SystemExit as end:
        status = end.code
    except Hang:
        return "".join(["hang: ", *traceback.format_exc().splitlines(keepends=True)[-12:]])
    except BaseException:
        return traceback.format_exc()[-3000:]
    errors.flush()
    said = errors.buffer.getvalue().decode("utf-8", "replace")  # type: ignore[attr-defined]
    if status not in ((0, 1, 2) if made.command == "validate" else (0, 2)):
        return f"status {status}: {said[-1000:]}"
    if "Traceback" in said:
        return said[-3000:]
    if status == 2 and "visem_tf: error: " not in said:
        return f"status 2 without an error: {said[-1000:]}"
    message = said.rpartition("visem_tf: error: ")[2].strip()
    if status == 2 and (message.count("\n") > 1 or len(message) > 2000):
        return f"a long error: {message[:1500]}"
    return ""


@contextlib.contextmanager
def limited_time() -> Iterator[None]:
    """Raises `Hang` in the block after too much work, or where it waits without working.

    A process that does little because others use the processor does not wait.
    """
    worked = time.process_time()

    def stop(*_: object) -> None:
        raise Hang

    def stop_if_waiting(*_: object) -> None:
        nonlocal worked
        before, worked = worked, time.process_time()
        if worked - before < 0.5:
            raise Hang

    try:
        signal.signal(signal.SIGPROF, stop)
        signal.setitimer(signal.ITIMER_PROF, WORK_SECONDS)
        signal.signal(signal.SIGALRM, stop_if_waiting)
        signal.setitimer(signal.ITIMER_REAL, WAITING_SECONDS, WAITING_SECONDS)
        yield
    finally:
        for timer in (signal.ITIMER_PROF, signal.ITIMER_REAL):
            signal.setitimer(timer, 0)


if __name__ == "__main__":
    main()
