"""Prepares a dataset once: checks every image and writes the files that are read from then on.

Prepared files are in `cache_dir/tfds-<fingerprint>/`, where the fingerprint covers the name,
variant and version of the dataset and the path, size and time of each source file: another folder,
or the same folder after a change, is prepared again. What is derived from a dataset is named after
its content instead (`visem_tf.datasets.caption_dataset.fingerprint_of`).
"""

import contextlib
import hashlib
import io
import itertools
import json
import logging
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import tensorflow as tf
import tensorflow_datasets as tfds
from tensorflow_datasets.core.utils import tqdm_utils

from visem_tf.config import Config, DataConfig
from visem_tf.config.settings import nearest
from visem_tf.datasets import schema
from visem_tf.datasets.folder_builder import FolderBuilder
from visem_tf.datasets.locations import inner_folder
from visem_tf.errors import UserError
from visem_tf.runtime.storage import (
    AnyPath,
    as_path,
    exists,
    file_version,
    is_remote,
    reading,
    reason_of,
)

_ADVICE = "check the path and its permissions"


class Prepared(NamedTuple):
    """A dataset that is ready to be read.

    Attributes:
        builder: TFDS builder of the data set.
        folder: Folder with all its files in the cache.
    """

    builder: Any
    folder: Path


@contextlib.contextmanager
def quiet(*, bars: bool = False) -> Iterator[None]:
    """Suppresses the messages of TensorFlow Datasets, except errors.

    Args:
        bars: Whether to show its progress bars.
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


def prepare(builder_class: Any, config: Config) -> Prepared:
    """Prepares a dataset unless it has been prepared already.

    Args:
        builder_class: Class `Builder` of the dataset.
        config: Configuration that names its variant, its folder and the cache.

    Raises:
        UserError: If the variant is unknown, a folder or file is missing or unusable, a split is
            empty, or the cache cannot be written.
    """
    variant = _resolve_variant(builder_class, config.variant)
    root = check_folder(builder_class, config)
    files: list[AnyPath] = []
    if root is not None and variant not in builder_class.WITHOUT_FOLDER:
        files = find_sources(builder_class, root, config.data)
    fingerprint = _fingerprint(builder_class, variant, root, files, config.data)
    # Prepared files stay on the disk, since preparing them again is fast.
    on_disk = Config.cache_dir if is_remote(config.cache_dir) else config.cache_dir
    folder = Path(on_disk).expanduser() / f"tfds-{fingerprint}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _exclusive(folder / "lock"):
            with quiet():
                builder = builder_class(data_dir=folder, config=variant)
                is_prepared = builder.is_prepared()
            if not is_prepared:
                _prepare(builder, folder, root, config.data)
    except (OSError, tf.errors.OpError, RuntimeError) as error:
        # TensorFlow Datasets wraps the error of a full disk.
        cause = error.__cause__ if type(error) is RuntimeError else error
        if not isinstance(cause, (OSError, tf.errors.OpError)):
            raise
        raise UserError(
            f"cannot prepare {builder_class.name} in {folder} ({reason_of(cause)}); free space "
            "there or name another folder with --cache-dir"
        ) from error
    return Prepared(builder, folder)


def check_folder(builder_class: Any, config: Config) -> AnyPath | None:
    """Returns the user's folder, which must be given if and only if the dataset needs it.

    Args:
        builder_class: Class `Builder` of the dataset.
        config: Configuration that names the folder, and how it is read.

    Raises:
        UserError: If the folder is missing, or the dataset is not read from one, or does not use
            one of the options that were given.
    """
    _check_options(builder_class, config.data)
    root = as_path(config.data_dir) if config.data_dir else None
    if not issubclass(builder_class, FolderBuilder):
        if root is not None:
            raise UserError(f"{builder_class.name} is not read from a folder; leave --data-dir out")
    elif config.variant not in builder_class.WITHOUT_FOLDER:
        if root is None:
            raise builder_class.lacks("--data-dir is missing")
        with reading(root, _ADVICE):
            if not root.is_dir():
                raise builder_class.lacks(f"{root} is not a folder")
            names = (builder_class.CAPTION_FILES, builder_class.MORE_FILES)
            return inner_folder(root, [*itertools.chain(*names, builder_class.IMAGE_FOLDERS)])
    return root


def _check_options(builder_class: Any, options: DataConfig) -> None:
    """Checks that the dataset uses all options that were given."""
    used = getattr(builder_class, "OPTIONS", ())
    for name, default in vars(DataConfig()).items():
        if name not in used and getattr(options, name) != default:
            names = ", ".join(f"--data.{each}" for each in used) or "none of --data.*"
            raise UserError(
                f"{builder_class.name} does not use --data.{name}; leave it out (it uses {names})"
            )


def find_sources(builder_class: Any, root: AnyPath, options: DataConfig) -> list[AnyPath]:
    """Returns the source files of a dataset.

    Args:
        builder_class: Class `Builder` of the dataset.
        root: The user's folder.
        options: Options for reading the user's files.

    Raises:
        UserError: If a file is missing or cannot be read.
    """
    with reading(root, _ADVICE):
        files: list[AnyPath] = builder_class.source_files(root, options)
    return files


def _resolve_variant(builder_class: Any, variant: str | None) -> str | None:
    """Returns the name of a variant that exists, or None if there are no variants."""
    names = [each.name for each in builder_class.BUILDER_CONFIGS]
    if variant is None:
        return builder_class.DEFAULT_BUILDER_CONFIG_NAME or next(iter(names), None)
    if not names:
        raise UserError(f"{builder_class.name} has no variants; leave {variant!r} out")
    if variant not in names:
        raise UserError(
            f"the variant of {builder_class.name} must be one of {', '.join(names)}, not "
            f"{variant!r}{nearest(variant, names)}"
        )
    return variant


def _fingerprint(
    builder_class: Any,
    variant: str | None,
    root: AnyPath | None,
    files: list[AnyPath],
    options: DataConfig,
) -> str:
    """Returns 16 hexadecimal digits that change with anything the prepared files depend on."""
    parts: list[Any] = [builder_class.name, str(builder_class.VERSION), repr(schema.features())]
    if variant:
        parts.append(vars(builder_class.builder_configs[variant]))
    if used := getattr(builder_class, "OPTIONS", ()):
        parts.append({name: getattr(options, name) for name in used})
    for path in files:
        # Relative, so that a folder that was moved is not prepared again. A path that an option
        # names may be elsewhere.
        inside = root in path.parents
        name = path.relative_to(root).as_posix() if inside else path.name  # type: ignore[arg-type]
        # A link that leads nowhere costs its image only.
        parts.append([name, *(file_version(path) if exists(path) else ())])
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]


@contextlib.contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    """Locks a file, so that other processes wait and then find the dataset prepared."""
    try:
        import fcntl
    except ImportError:  # not a POSIX system
        yield
        return
    with path.open("a") as file:
        # Some file systems have no locks; one process at a time can prepare there.
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        yield  # closing the file ends the lock, and so does a kill of this process


def _prepare(builder: Any, folder: Path, root: AnyPath | None, options: DataConfig) -> None:
    """Prepares the dataset; an interrupted attempt leaves nothing that counts as prepared."""
    for leftover in folder.rglob("incomplete.*"):  # of a process that was killed
        shutil.rmtree(leftover, ignore_errors=True)
    download = tfds.download.DownloadConfig(try_download_gcs=False, compute_stats="skip")
    has_own_bar = isinstance(builder, FolderBuilder)
    if has_own_bar:
        builder.root, builder.options = root, options
    with quiet(bars=sys.stderr.isatty() and not has_own_bar):
        builder.download_and_prepare(download_dir=folder / "downloads", download_config=download)
