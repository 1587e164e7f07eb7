"""Starts TensorFlow without its messages about itself; all other messages are shown."""

import contextlib
import logging
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

# TensorFlow 2.21 writes its first INFO lines whatever TF_CPP_MIN_LOG_LEVEL is. It reports as errors
# that a machine has no CUDA driver (303), that oneDNN leaves a data type to Eigen, and that its
# optimizer of graphs gives an operation an attribute that the operation does not have.
NOISE = re.compile(
    rb"^(WARNING: All log messages before absl::InitializeLog\(\)"
    rb"|I\d{4} \d"
    rb"|E\d{4} \d.*cuInit.*\(303\)"
    rb"|E\d{4} \d.*oneDNN supports \w+ only on platforms with AVX-512"
    rb"|E\d{4} \d.*NodeDef mentions attribute \w+ which is not in the op definition"
    rb"|INFO: Created TensorFlow Lite"
    rb"|WARNING:absl:Importing a function .* with ops with unsaved custom gradients"
    rb"|fully_quantize: )"
)


@contextlib.contextmanager
def without_noise() -> Iterator[None]:
    """Removes TensorFlow's messages about itself from the standard error of a block.

    Output of Python and of native code is held back while the block runs. When it ends, also by an
    exception, all lines but the noise are written.
    """
    with contextlib.ExitStack() as files:
        try:
            sys.stderr.flush()
            held = files.enter_context(tempfile.TemporaryFile())
            original = os.dup(2)
        except (AttributeError, OSError):  # there is no standard error, or the disk is full
            yield
            return
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                sys.stderr.flush()
            os.dup2(original, 2)
            os.close(original)
            held.seek(0)
            for line in held:
                if not NOISE.match(line):
                    os.write(2, line)


_OPEN_FILES = 10_240
"""Number of open files that macOS allows at most, whatever limit it names."""


def allow_open_files() -> None:
    """Lets this process open as many files as it may: caches and indexes keep theirs open."""
    try:
        import resource
    except ImportError:  # on Windows
        return
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    for limit in (most, _OPEN_FILES):  # macOS refuses the limit that it names
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, most))
            return


def start_tensorflow() -> None:
    """Imports TensorFlow, with Keras on top of it, and lists the devices, without noise.

    `TF_CPP_MIN_LOG_LEVEL` is 2 (errors only) unless the user has set it; 0 shows everything.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")  # two commands share a GPU
    _find_home()
    show_all = os.environ["TF_CPP_MIN_LOG_LEVEL"] == "0"
    with contextlib.nullcontext() if show_all else without_noise():
        import tensorflow as tf

        tf.config.list_physical_devices()
    _trace_as_written()
    if not show_all:
        logging.getLogger("tensorflow").addFilter(_is_no_retracing_warning)


def _find_home() -> None:
    """Gives a user without a home folder one, since KerasCV cannot be imported without.

    Paths that begin with `~` were refused before, when the options were read.
    """
    try:
        Path.home()
    except RuntimeError:
        os.environ["HOME"] = tempfile.gettempdir()


def _trace_as_written() -> None:
    """Excludes this package from AutoGraph, which rewrites Python control flow over tensors.

    The package has none, and the rewriting takes most of the time of tracing a function.
    """
    from tensorflow.python.autograph.core import config

    ours = config.DoNotConvert(__name__.partition(".")[0])
    if str(ours) not in map(str, config.CONVERSION_RULES):
        config.CONVERSION_RULES = (ours, *config.CONVERSION_RULES)


def run_first_operation() -> None:
    """Runs a first operation, without TensorFlow's messages about the processor.

    Once in a process, on a processor without AVX-512, oneDNN reports as an error that it does not
    support some data types. Transposing Booleans triggers this message. Afterwards the devices can
    no longer be split.
    """
    import tensorflow as tf

    with without_noise():
        tf.transpose(tf.ones([2, 2], tf.bool)).numpy()


def _is_no_retracing_warning(record: logging.LogRecord) -> bool:
    """Filters the warning that a function is traced too often.

    TensorFlow counts all functions that one line of code creates, and here each model has its own.
    """
    return "triggered tf.function retracing" not in record.getMessage()
