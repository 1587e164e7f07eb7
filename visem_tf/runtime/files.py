"""Writes files whole or not at all: under a temporary name, which is then changed."""

from __future__ import annotations

import contextlib
import io
import os
import secrets
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from visem_tf.runtime.storage import PARTIAL, PathLike, as_path, upload

_WATCHED: dict[Path, Callable[[], None]] = {}


def after_writing(folder: Path, call: Callable[[], None]) -> None:
    """Registers a function to call whenever a file below a folder has been written.

    Args:
        folder: Absolute path without links.
        call: Function without arguments; its exceptions are raised to the writer of the file.
    """
    _WATCHED[folder] = call


def is_unfinished(path: Path) -> bool:
    """Returns whether a file is being written, or is the rest of an interrupted writing."""
    return path.name.startswith(".") and PARTIAL in path.suffixes


@contextlib.contextmanager
def atomic_path(path: PathLike) -> Iterator[Path]:
    """Yields a temporary path in the folder of `path`, which is renamed to `path` on success.

    The temporary name keeps the suffix, since writers such as `numpy.save` and Keras choose their
    format by it. Missing folders are created. If the block raises an exception, the temporary file
    is removed and `path` stays as it was. A `path` that is not a regular file (a pipe,
    `/dev/stdout`) cannot be replaced and is yielded itself. A `path` with a scheme (`gs://…`) is
    written to the disk first and uploaded on success.

    Args:
        path: Path of the file, on any storage.

    Yields:
        Path to write to.

    Raises:
        IsADirectoryError: `path` is a folder.

    Example:
        >>> import tempfile
        >>> target = Path(tempfile.mkdtemp()) / "numbers.txt"
        >>> with atomic_path(target) as temporary:
        ...     _ = temporary.write_text("1 2 3")
        >>> target.read_text()
        '1 2 3'
    """
    target = as_path(path)
    if target.is_dir():
        raise IsADirectoryError(f"{target} is a folder, not a file")
    if not isinstance(target, Path):
        with tempfile.TemporaryDirectory() as temporary_folder:
            local = Path(temporary_folder) / target.name
            yield local
            upload(local, target)
        return
    if target.exists() and not target.is_file():
        yield target
        return
    target = target.resolve()  # a link stays, and its target is replaced
    target.parent.mkdir(parents=True, exist_ok=True)
    # Short, so that a long but valid name stays valid; not `mkstemp`, which ignores the umask.
    temporary = target.parent / f".{secrets.token_hex(6)}{PARTIAL}{target.suffix}"
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(target)
        for folder, call in _WATCHED.items():
            if folder in target.parents:
                call()
    except OSError as error:
        if error.filename is None:  # the error of a full disk names no file
            error.filename = str(target)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def write_atomically(path: PathLike, content: bytes | memoryview | str) -> None:
    """Writes a whole file, or leaves the old one untouched.

    Args:
        path: Path of the file, on any storage; missing folders are created.
        content: Bytes, or text, which is encoded as UTF-8 with its line ends unchanged.

    Raises:
        OSError: The folder cannot be written, or the disk is full.

    Example:
        >>> import tempfile
        >>> target = Path(tempfile.mkdtemp()) / "new" / "words.txt"
        >>> write_atomically(target, "naïve")
        >>> target.read_text(encoding="utf-8")
        'naïve'
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def save_array(path: PathLike, array: np.ndarray) -> None:
    """Writes an array as an `.npy` file, whole or not at all.

    Args:
        path: Path of the file, on any storage; missing folders are created.
        array: Array of numbers or texts.

    Raises:
        OSError: The folder cannot be written, or the disk is full.
    """
    content = io.BytesIO()  # written to a file directly, NumPy would hide the reason of a failure
    np.save(content, array, allow_pickle=False)
    write_atomically(path, content.getbuffer())
