import subprocess
import sys
import textwrap
from pathlib import Path

import pytest


@pytest.mark.slow
def test_tensorflow_starts_quietly_and_warnings_come_through():
    source = """
        import os, sys, warnings
        from visem_tf.runtime.startup import run_first_operation, start_tensorflow, without_noise
        start_tensorflow()
        run_first_operation()
        import tensorflow as tf
        tf.transpose(tf.ones([64, 15], tf.bool))
        with without_noise():
            warnings.warn("ours")
            print("E0000 00:00:1.2  3 cuda.cc:1] failed call to cuInit: (100)", file=sys.stderr)
            os.write(2, b"I0000 00:00:1.2  3 cuda.cc:1] remark\\nnative\\n")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(source)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    lines = done.stderr.splitlines()
    assert [line for line in lines if "ours" in line]
    assert [line for line in lines if "(100)" in line]
    assert "native" in lines
    assert not [line for line in lines if line.startswith(("I0000", "WARNING: All log"))]
    assert not [line for line in lines if "oneDNN" in line]
