"""Starts TensorFlow without the lines it writes about itself; all else still comes through."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
import tempfile
from collections.abc import Iterator

# TensorFlow 2.21 writes its first INFO lines whatever TF_CPP_MIN_LOG_LEVEL says, and calls it an
# error that a machine has no CUDA driver (303), or that oneDNN leaves a type to Eigen.
NOISE = re.compile(
    rb"^(WARNING: All log messages before absl::InitializeLog\(\)"
    rb"|I\d{4} \d"
    rb"|E\d{4} \d.*cuInit.*\(303\)"
    rb"|E\d{4} \d.*oneDNN supports \w+ only on platforms with AVX-512"
    rb"|INFO: Created TensorFlow Lite"
    rb"|WARNING:absl:Importing a function .* with ops with unsaved custom gradients"
    rb"|fully_quantize: )"
)


@contextlib.contextmanager
def without_noise() -> Iterator[None]:
    """Leaves TensorFlow's remarks about itself out of what the block writes to standard error.

    Python's own `sys.stderr` and native code are both held back while the block runs; then, also
    when it raises, all lines but the noise are written.
    """
    try:
        sys.stderr.flush()
        original = os.dup(2)
    except (AttributeError, OSError):  # no standard error at all
        yield
        return
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(original, 2)
            os.close(original)
            held.seek(0)
            for line in held:
                if not NOISE.match(line):
                    os.write(2, line)


def start_tensorflow() -> None:
    """Imports TensorFlow, with Keras on it, and looks for devices, quietly.

    `TF_CPP_MIN_LOG_LEVEL` is 2 (errors only) unless the user set it; 0 shows everything.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    show_all = os.environ["TF_CPP_MIN_LOG_LEVEL"] == "0"
    with contextlib.nullcontext() if show_all else without_noise():
        import tensorflow as tf

        tf.config.list_physical_devices()
    if not show_all:
        logging.getLogger("tensorflow").addFilter(_is_news)


def run_first_operation() -> None:
    """Runs a first operation, without what TensorFlow says of the processor on that occasion.

    Once in a process, and where the processor has no AVX-512, oneDNN calls it an error that it
    leaves some types to others; transposing truth values is what makes it say so. The devices can
    no longer be divided after this.
    """
    import tensorflow as tf

    with without_noise():
        tf.transpose(tf.ones([2, 2], tf.bool)).numpy()


def _is_news(record: logging.LogRecord) -> bool:
    """Drops TensorFlow's guess that a function is traced too often.

    It counts all functions made at one place in the code, and here each model has its own.
    """
    return "triggered tf.function retracing" not in record.getMessage()
