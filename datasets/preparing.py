"""Prepares a data set once: checks every picture and writes the files that are read from then on.

They live in `cache_dir/tfds-<fingerprint>/`, where the fingerprint is made of the name,
configuration and version of the data set and of the path, size and time of each source file:
another folder, or the same one after a change, is prepared anew and never mixed up. What is derived
from a data set is named after its content (`visem_tf.datasets.loading`).
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import json
import logging
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow as tf
import tensorflow_datasets as tfds
from tensorflow_datasets.core.utils import tqdm_utils

from visem_tf.config import Config, DataConfig
from visem_tf.datasets import nearest, schema
from visem_tf.datasets.folder_builder import FolderBuilder
from visem_tf.errors import UserError
from visem_tf.runtime.storage import AnyPath, as_path, file_version, is_remote, reason_of


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A data set that is ready to be read.

    Attributes:
        builder: its builder of TensorFlow Datasets.
        fingerprint: 16 hexadecimal digits that change with any source file.
        folder: where everything about it lies.
    """

    builder: Any
    fingerprint: str
    folder: Path


@contextlib.contextmanager
def quiet(*, bars: bool = False) -> Iterator[None]:
    """Holds back what TensorFlow Datasets says about its own work, short of errors.

    Args:
        bars: whether to let its progress bars through.
    """
    bars_before = tqdm_utils._active
    logger = logging.getLogger("absl")
    level_before = logger.level
    tfds.display_progress_bar(bars)
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level_before)
        tfds.display_progress_bar(bars_before)


def prepare(
    builder_class: Any,
    *,
    cache_dir: str | os.PathLike[str],
    data_dir: str | os.PathLike[str] | None = None,
    config: str | None = None,
    options: DataConfig | None = None,
) -> Prepared:
    """Prepares a data set unless that was done before.

    Args:
        builder_class: the class `Builder` of the data set.
        cache_dir: where prepared files are kept; made if missing.
        data_dir: the user's folder, for data sets that are read from one.
        config: the configuration of the builder; by default its first.
        options: how the user's files are read, where they leave that open.

    Returns:
        Where it is.

    Raises:
        UserError: an unknown configuration, a missing or unusable folder or file, an empty split,
            or a cache that cannot be written.
    """
    config = _resolve_config(builder_class, config)
    options = DataConfig() if options is None else options
    check_options(builder_class, options)
    sources = find_sources(builder_class, data_dir, options, config)
    fingerprint = _fingerprint(builder_class, config, sources, options)
    # Prepared files stay on the disk: they are made from the data in no time.
    on_disk = Config.cache_dir if is_remote(cache_dir) else cache_dir
    folder = Path(on_disk).expanduser() / f"tfds-{fingerprint}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _only_one(folder / "lock"):
            with quiet():
                builder = builder_class(data_dir=folder, config=config)
                is_prepared = builder.is_prepared()
            if not is_prepared:
                _prepare(builder, folder, sources.root, options)
    except (OSError, tf.errors.OpError, RuntimeError) as error:
        # TensorFlow Datasets wraps what a full disk raises.
        cause = error.__cause__ if type(error) is RuntimeError else error
        if not isinstance(cause, (OSError, tf.errors.OpError)):
            raise
        reason = getattr(cause, "strerror", None) or str(cause)
        raise UserError(
            f"cannot prepare {builder_class.name} in {folder} ({reason}); free space there or "
            "name another folder with --cache-dir"
        ) from error
    return Prepared(builder, fingerprint, folder)


@dataclasses.dataclass(frozen=True)
class Sources:
    """The files a data set is read from, and the folder they lie in; none for a generated one."""

    root: AnyPath | None
    files: list[AnyPath]


def _resolve_config(builder_class: Any, config: str | None) -> str | None:
    """Returns the name of a builder configuration that exists, or None where there are none."""
    names = [each.name for each in builder_class.BUILDER_CONFIGS]
    if config is None:
        return builder_class.DEFAULT_BUILDER_CONFIG_NAME or next(iter(names), None)
    if not names:
        raise UserError(f"{builder_class.name} has no configurations; leave {config!r} out")
    if config not in names:
        hint = nearest(config, names)
        raise UserError(f"{builder_class.name} has no configuration {config!r}; {hint}")
    return config


def check_options(builder_class: Any, options: DataConfig) -> None:
    """Refuses options that the data set is not read by, which would be ignored silently.

    Raises:
        UserError: names the option.
    """
    used = getattr(builder_class, "OPTIONS", ())
    default = DataConfig()
    for field in dataclasses.fields(DataConfig):
        if field.name not in used and getattr(options, field.name) != getattr(default, field.name):
            reads = ", ".join(f"--data.{each}" for each in used) or "none of --data.*"
            raise UserError(
                f"{builder_class.name} does not use --data.{field.name}; leave it out (it uses "
                f"{reads})"
            )


def find_sources(
    builder_class: Any,
    data_dir: str | os.PathLike[str] | None,
    options: DataConfig,
    config: str | None = None,
) -> Sources:
    """Returns the source files, after checking that a folder is given if and only if needed.

    Args:
        builder_class: the class `Builder` of the data set.
        data_dir: the user's folder.
        options: how it is read.
        config: the variant of the data set.

    Raises:
        UserError: the folder, or a file in it, is missing or cannot be read.
    """
    name = builder_class.name
    if not issubclass(builder_class, FolderBuilder):
        if data_dir is not None:
            raise UserError(f"{name} is read from no folder; leave --data-dir out")
        return Sources(None, [])
    if config in builder_class.WITHOUT_FOLDER:
        return Sources(None if data_dir is None else as_path(data_dir), [])
    needs = f"{name} needs {builder_class.MANUAL_DOWNLOAD_INSTRUCTIONS}"
    if data_dir is None:
        raise UserError(f"--data-dir is missing; {needs}")
    root = as_path(data_dir)
    try:
        if not root.is_dir():
            raise UserError(f"{root} is no folder; {needs}")
        return Sources(root, builder_class.source_files(root, options))
    except OSError as error:
        raise UserError(
            f"cannot read {root} ({reason_of(error)}); check the path and its permissions"
        ) from error


def _fingerprint(
    builder_class: Any, config: str | None, sources: Sources, options: DataConfig
) -> str:
    """Returns 16 hexadecimal digits that change with anything the prepared files depend on."""
    parts: list[Any] = [builder_class.name, str(builder_class.VERSION), repr(schema.features())]
    if config:
        parts.append(vars(builder_class.builder_configs[config]))
    # A data set without options keeps the fingerprint it had before there were any.
    if used := getattr(builder_class, "OPTIONS", ()):
        parts.append({name: getattr(options, name) for name in used})
    for path in sources.files:
        parts.append([_below(path, sources.root), *file_version(path)])
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]


def _below(path: Any, root: Any) -> str:
    """A path below the folder of the data, so that a folder that was moved is the same."""
    try:
        return str(path.relative_to(root).as_posix())
    except (ValueError, TypeError, AttributeError):  # named by an option, elsewhere
        return path.name


@contextlib.contextmanager
def _only_one(path: Path) -> Iterator[None]:
    """Lets one process at a time prepare; others wait and then find it prepared."""
    try:
        import fcntl
    except ImportError:  # not a POSIX system
        yield
        return
    with path.open("a") as file:
        # A file system without locks works as well, as long as nobody else prepares.
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        yield  # closing the file ends the lock, and so does the death of this process


def _prepare(builder: Any, folder: Path, root: AnyPath | None, options: DataConfig) -> None:
    """Prepares the data set; an interrupted attempt leaves nothing that counts as prepared."""
    for leftover in folder.rglob("incomplete.*"):  # of a process that was killed
        shutil.rmtree(leftover, ignore_errors=True)
    download = tfds.download.DownloadConfig(try_download_gcs=False, compute_stats="skip")
    if isinstance(builder, FolderBuilder):
        builder.root, builder.options = root, options
    # `FolderBuilder` shows a bar of its own, with the number of pictures.
    with quiet(bars=sys.stderr.isatty() and not isinstance(builder, FolderBuilder)):
        builder.download_and_prepare(download_dir=folder / "downloads", download_config=download)
