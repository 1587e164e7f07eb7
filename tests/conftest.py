import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from filelock import FileLock

from visem_tf.runtime.startup import start_tensorflow


def pytest_configure(config: pytest.Config) -> None:
    """Starts TensorFlow in the processes that run tests.

    The process of pytest-xdist that hands them out does without.
    """
    if hasattr(config, "workerinput") or config.getoption("dist", "no") == "no":
        start_tensorflow()


@contextlib.contextmanager
def quick_stages() -> Iterator[None]:
    """Runs stages without tracing and without METEOR, which both take longer than tiny models.

    TensorFlow needs seconds to trace a function that computes for a tenth of a second, and METEOR
    reads its tables for seconds. `tiny_run` does both.
    """
    import tensorflow as tf

    from visem_tf.metrics.java import JavaError
    from visem_tf.metrics.meteor import Meteor

    def leave_out(*arguments: Any) -> None:
        raise JavaError("METEOR is left out of this test")

    tf.config.run_functions_eagerly(True)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Meteor, "score", leave_out)
            yield
    finally:
        tf.config.run_functions_eagerly(False)


@pytest.fixture(scope="module")
def quick() -> Iterator[None]:
    """Runs the tests of a module with `quick_stages`."""
    with quick_stages():
        yield


@pytest.fixture(scope="session")
def caption_scorer() -> Iterator[Any]:
    """A `CaptionScorer` for several tests, because METEOR takes seconds to start."""
    from visem_tf.metrics.captions import CaptionScorer

    with CaptionScorer() as scorer:
        yield scorer


@pytest.fixture(scope="module")
def small_cnn() -> Iterator[None]:
    """Extracts features with the small CNN of `tests/support/small_cnn.py`."""
    from small_cnn import small_cnn

    with small_cnn():
        yield


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


TWO_DEVICES = """
import contextlib, io, json, sys, traceback
import tensorflow as tf

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})  # saves seconds
for line in sys.stdin:
    printed, error = io.StringIO(), ""
    try:
        with contextlib.redirect_stdout(printed):
            exec(json.loads(line), {"tf": tf, "strategy": strategy})
    except BaseException:
        error = traceback.format_exc()
    print(json.dumps([printed.getvalue(), error]), flush=True)
"""


@pytest.fixture(scope="session")
def run_on_two_devices() -> Iterator[Callable[[str], str]]:
    """Runs Python source in a process with two logical CPU devices; returns what it prints.

    `tf` and `strategy` are defined. Logical devices can only be made before TensorFlow has started,
    hence the process; all tests share it.
    """
    root = Path(__file__).parents[1]
    process = subprocess.Popen(
        [sys.executable, "-c", TWO_DEVICES],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": str(root)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def run(source: str) -> str:
        assert process.stdin and process.stdout
        process.stdin.write(json.dumps(source) + "\n")
        process.stdin.flush()
        printed, error = json.loads(process.stdout.readline())
        assert not error, error
        return printed

    with process:
        yield run
        process.kill()


class TinyRun(NamedTuple):
    """A finished run; read it, but write to copies only."""

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
def untrained_run(shared_folder: Path) -> TinyRun:
    """A run of all stages on 22 drawn scenes, whose models have random weights.

    The first process that asks for it makes it; the others wait.
    """
    folder = shared_folder / "untrained_run"
    with FileLock(shared_folder / "untrained_run.lock"):
        if not (folder / "finished").exists():
            run_untrained(folder)
            (folder / "finished").touch()
    return TinyRun(folder / "run", folder / "cache")


def run_untrained(folder: Path) -> None:
    """Writes `data/`, `cache/` and `run/`, the run of `untrained_run`, into a folder."""
    from untrained import make_run

    import dummy_data
    from visem_tf.runs.opening import open_run
    from visem_tf.runs.run_directory import RunDirectory
    from visem_tf.stages import run_stages
    from visem_tf.text import END_ID

    images = dummy_data.draw_images(train=6, val=6, test=10)
    dummy_data.write("coco_json", folder / "data", images)
    changes = {
        "dataset": "coco_json",
        "data_dir": str(folder / "data"),
        "cache_dir": str(folder / "cache"),
        "text.min_count": 1,
        "align": {"embedding_dim": 8, "hidden_dim": 7, "word_dim": 6, "batch_size": 10},
        "generate.batch_size": 10,
        "evaluate": {"beam_size": 2},
        "stages": ("features", "align", "infer", "generate", "evaluate"),
    }
    made = make_run(folder / "run", "align", "generate/full_frame", "generate/regions", **changes)
    generator = made.full_frame_generator
    bias = generator.output_projection.bias.numpy()
    bias[END_ID] -= 20.0  # so that no caption is empty
    generator.output_projection.bias.assign(bias)
    generator.save(folder / "run" / "checkpoints" / "generate" / "full_frame" / "best.keras")
    for stage in ("align", "generate"):
        RunDirectory(folder / "run").mark_done(stage, 0.0, {})
    with quick_stages():
        run_stages(open_run(made.config), progress=lambda line: None)


@pytest.fixture(scope="session")
def tiny_run(untrained_run: TinyRun, shared_folder: Path) -> TinyRun:
    """The same run with trained models, for slow tests.

    The first process that asks for it trains it; the others wait.
    """
    from visem_tf import fit

    run = TinyRun(shared_folder / "tiny_run", untrained_run.cache_dir)
    with FileLock(shared_folder / "tiny_run.lock"):
        if not run.path.exists():
            config = ["--config", str(untrained_run.path / "config.json")]
            epochs = ["--align.epochs", "2", "--generate.epochs", "1"]
            stages = ["--stages", "features,align,infer,generate,evaluate,report"]
            with quick_stages():
                fit.main([*config, *run.options, *epochs, *stages])
    return run


@pytest.fixture(scope="session")
def published_model(shared_folder: Path) -> Path:
    """A published model with random weights; read it, but write to copies only.

    The first process that asks for it makes it; the others wait.
    """
    from untrained import make_run

    from visem_tf.publish import publish

    folder = shared_folder / "published"
    with FileLock(shared_folder / "published.lock"):
        if not folder.exists():
            run = make_run(folder / "run", "align", "generate/full_frame", "generate/regions")
            publish(run, str(folder / "flickr8k"), "flickr8k")
    return folder / "flickr8k"


@pytest.fixture
def packaged_model(published_model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The published model in the place of the package's models, whether or not it has one."""
    from visem_tf.runtime import model_places

    monkeypatch.setattr(model_places, "packaged_models", lambda: {"flickr8k": published_model})
    return published_model


@pytest.fixture
def no_packaged_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package without models."""
    from visem_tf.runtime import model_places

    monkeypatch.setattr(model_places, "packaged_models", dict)


@pytest.fixture(scope="session")
def train_again(
    untrained_run: TinyRun, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Path]:
    """Runs stages of a copy of the untrained run again, with other options; returns its folder."""
    from untrained import replace_config

    from visem_tf.config import Config
    from visem_tf.runs.opening import open_run
    from visem_tf.stages import run_stages

    def train_again(*stages: str, **changes: Any) -> Path:
        folder = tmp_path_factory.mktemp("again")
        shutil.copytree(untrained_run.path, folder / "run")
        shutil.copytree(untrained_run.cache_dir, folder / "cache")
        recorded = Config.from_json((folder / "run" / "config.json").read_text(encoding="utf-8"))
        places = {"run_dir": str(folder / "run"), "cache_dir": str(folder / "cache")}
        config = recorded.updated({**places, "stages": stages, **changes})
        replace_config(folder / "run", config)
        for stage in stages:
            shutil.rmtree(folder / "run" / "checkpoints" / stage, ignore_errors=True)
        with quick_stages():
            run_stages(open_run(config), again=stages, progress=lambda line: None)
        return folder / "run"

    return train_again


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
