"""Published models as TFLite files in the cache, with which commands start without TensorFlow.

    CACHE/prepared/NAME-VERSION-DIGEST.tflite

The digest is of all files of the model, the version is that of this package. A file can be deleted
at any time.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from visem_tf.config import Config
from visem_tf.config.recorded import SEARCH_FIELDS, affects_training, differences
from visem_tf.errors import UserError
from visem_tf.prepared_model import PreparedModel
from visem_tf.runtime.outputs import output_folder
from visem_tf.runtime.published import SUMS, is_published
from visem_tf.runtime.storage import as_path, reason_of
from visem_tf.runtime.streams import tell, warn
from visem_tf.runtime.version import __version__

if TYPE_CHECKING:
    from visem_tf.runs.trained_run import TrainedRun


def obstacle(config: Config) -> str | None:
    """Returns why a model cannot be prepared, as the end of a sentence; None if it can.

    Args:
        config: Configuration of a command, whose `run_dir` is the model.

    Raises:
        UserError: The configuration of the model cannot be read.
    """
    folder = as_path(config.run_dir)
    if not is_published(folder):
        return f"needs a published model, and {folder} is a run directory"
    if not all((folder / name).is_file() for name in (SUMS, "config.json")):
        return f"needs a complete model, and {folder} is not"
    recorded = Config.from_json((folder / "config.json").read_text(encoding="utf-8"))
    for name in differences(recorded, config):
        if affects_training(name) or name in SEARCH_FIELDS:
            return f"answers as the model was published, and cannot change {name}"
    if not isinstance(as_path(config.cache_dir), Path):
        return f"needs a --cache-dir on the disk, and {config.cache_dir} is not"
    if importlib.util.find_spec("ai_edge_litert") is None:
        return "needs the package ai-edge-litert, which is not installed"
    return None


def prepared_file(config: Config) -> Path:
    """Returns the place of the TFLite file of a published model, which need not exist."""
    folder = as_path(config.run_dir)
    digest = hashlib.sha256((folder / SUMS).read_bytes()).hexdigest()[:16]
    name = f"{folder.name}-{__version__}-{digest}.tflite"
    return Path(as_path(config.cache_dir)) / "prepared" / name


def open_prepared(config: Config) -> PreparedModel | None:
    """Opens a published model that is prepared; None if it is not, or if its file is damaged."""
    file = prepared_file(config)
    try:
        return PreparedModel(file, config.compute.threads) if file.is_file() else None
    except (ValueError, KeyError, OSError, zipfile.BadZipFile):
        return None


def prepare(run: TrainedRun) -> PreparedModel:
    """Writes the TFLite file of a published model, says so on standard error, and opens it.

    Args:
        run: The model, with a configuration that has no `obstacle`.

    Raises:
        UserError: TFLite has no form of the model.
        OSError: The cache cannot be written.
    """
    from visem_tf.export.tflite.writer import check_convertible, write_prepared

    check_convertible(run)
    _ = run.full_frame_generator  # raises an error if the model has none
    tell(f"preparing {run.run.name} for fast starts, once; this takes about a minute …")
    file = prepared_file(run.config)
    write_prepared(run, file)
    return PreparedModel(file, run.config.compute.threads)


def prepare_for_next_time(run: TrainedRun) -> None:
    """Prepares a model after its answer; whatever prevents it, also Ctrl-C, does no harm.

    Args:
        run: The model, with a configuration that has no `obstacle`.
    """
    try:
        output_folder(str(prepared_file(run.config).parent))  # raises an error if not writable
        prepare(run)
    except (UserError, argparse.ArgumentTypeError, KeyboardInterrupt):
        pass
    except Exception as error:  # of the converter, which raises many kinds
        warn(f"{run.run.name} is not prepared ({reason_of(error)})")
