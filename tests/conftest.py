import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from visem_tf.quiet import start_tensorflow

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

    def run(source: str, timeout: float = 120) -> str:
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
