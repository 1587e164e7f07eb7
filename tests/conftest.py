import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from filelock import FileLock

from visem_tf.runtime.startup import start_tensorflow

start_tensorflow()

TWO_DEVICES = """
import tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
"""


@pytest.fixture
def run_python(tmp_path: Path) -> Callable[..., str]:
    """Runs Python source in a new process without GPUs; returns what it prints.

    A failure shows its standard error.
    """

    def run(source: str, timeout: float = 600) -> str:
        script = tmp_path / "script.py"
        script.write_text(source, encoding="utf-8")
        root = Path(__file__).parents[1]
        done = subprocess.run(
            [sys.executable, str(script)],
            env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(root)},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture
def run_on_two_devices(run_python: Callable[..., str]) -> Callable[..., str]:
    """Like `run_python`, with two logical CPU devices: `tf` and `strategy` are defined.

    Logical devices can only be made before TensorFlow has started, hence the process.
    """
    return lambda source, **options: run_python(TWO_DEVICES + source, **options)


class TinyRun(NamedTuple):
    """A finished run of all stages on a few drawn scenes; read it, but write to copies only."""

    path: Path
    cache_dir: Path

    @property
    def options(self) -> list[str]:
        """The options that name it on a command line."""
        return ["--run-dir", str(self.path), "--cache-dir", str(self.cache_dir)]


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes of pytest-xdist share; it is made anew for each session."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def tiny_run(shared_folder: Path) -> TinyRun:
    """The first process that asks for the run trains it; the others wait for it."""
    from visem_tf import fit

    folder = shared_folder / "tiny_run"
    run = TinyRun(folder / "run", folder / "cache")
    sizes = {
        "--preset": "smoke",
        "--regions.picture_size": "96",
        "--regions.num_regions": "4",
        "--align.epochs": "2",
        "--generate.epochs": "1",
        "--generate.beam_size": "2",
        "--evaluate.beam_size": "2",
    }
    with FileLock(shared_folder / "tiny_run.lock"):
        if not (folder / "finished").exists():
            fit.main([*run.options, *(part for pair in sizes.items() for part in pair)])
            (folder / "finished").touch()
    return run


@pytest.fixture(scope="session")
def attending_run(tiny_run: TinyRun, tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    """The tiny run with an untrained generator that attends to regions, and none of regions."""
    from visem_tf.config import Config
    from visem_tf.runs.generators import build_generator
    from visem_tf.text import Vocabulary

    copy = tmp_path_factory.mktemp("attending_run") / "run"
    shutil.copytree(tiny_run.path, copy, ignore=shutil.ignore_patterns("last-*", "saved_model"))
    shutil.rmtree(copy / "checkpoints" / "generate" / "regions")
    config = Config.from_json((copy / "config.json").read_text(encoding="utf-8"))
    config = config.updated({"generate.model": "attention", "generate.regions": False})
    (copy / "config.json").write_text(config.to_json(), encoding="utf-8")
    sample = np.random.default_rng(0).random((20, 1280), np.float32)
    vocabulary = Vocabulary.load(copy / "vocabulary.txt")
    model = build_generator(config, "full_frame", vocabulary, sample)
    model.save(copy / "checkpoints" / "generate" / "full_frame" / "best.keras")
    return TinyRun(copy, tiny_run.cache_dir)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A headless Chromium, driven by Playwright; tests without one are skipped."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    found = next(
        filter(
            None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))
        ),
        None,
    )
    with sync_api.sync_playwright() as playwright:
        if found is None and not Path(playwright.chromium.executable_path).exists():
            pytest.skip("there is no Chromium; `playwright install chromium` fetches one")
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()
