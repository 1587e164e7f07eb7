"""Writes files and folders whole or not at all: under a temporary name, which is then changed."""

import contextlib
import functools
import hashlib
import io
import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from visem_tf.runtime.storage import PARTIAL, PathLike, as_path, upload

_WATCHED: dict[Path, Callable[[], None]] = {}
_SWEPT: set[Path] = set()


def after_writing(folder: Path, call: Callable[[], None]) -> None:
    """Registers a function to call whenever a file or folder below a folder has been written.

    Args:
        folder: Absolute path without links.
        call: Function without arguments; its exceptions are raised to the writer.
    """
    _WATCHED[folder] = call


def is_unfinished(path: Path) -> bool:
    """Returns whether a file is being written, or is the rest of an interrupted writing."""
    return path.name.startswith(".") and PARTIAL in path.suffixes


def unfinished_name(suffix: str = "") -> str:
    """Returns a new name for a file or folder that this process writes.

    It is short, so that a long but valid name of the finished file stays valid, and says which
    process writes it.
    """
    return f".{_machine()}-{os.getpid()}-{secrets.token_hex(3)}{PARTIAL}{suffix}"


def remove_unfinished(folder: Path) -> None:
    """Removes from a folder what processes of this machine were writing when they were killed.

    It looks once in a process.
    """
    if folder in _SWEPT or os.name != "posix":
        return
    _SWEPT.add(folder)
    for path in folder.glob(f".{_machine()}-*{PARTIAL}*"):
        process = path.name.split("-")[1]
        if process.isdecimal() and not _is_running(int(process)):
            _remove(path)


def _remove(path: Path) -> None:
    """Removes a file or a folder, if there is one and this user may."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):  # of another user
            path.unlink(missing_ok=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # of another user
        pass
    return True


@functools.cache
def _machine() -> str:
    """Four letters for this machine and, in containers, for its numbering of processes."""
    try:
        numbering = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        numbering = ""
    return hashlib.sha256(f"{socket.gethostname()} {numbering}".encode()).hexdigest()[:4]


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
        with temporary_folder() as folder:
            local = folder / target.name
            yield local
            upload(local, target)
        return
    if target.exists() and not target.is_file():
        yield target
        return
    # A link stays, and its target is replaced.
    with _replacing(target.resolve(), target.suffix) as temporary:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())


def name_target(error: OSError, temporary: Path, target: Path) -> None:
    """Makes an error name the file or folder that is written, and not its temporary name.

    Args:
        error: Error of writing; that of a full disk names no file.
        temporary: Temporary path.
        target: Path that it stands for.
    """
    named = error.filename2 or error.filename  # the second is where a file is copied to
    if named is None or str(temporary) in str(named):
        error.filename, error.filename2 = str(target), None


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yields a temporary folder beside `path`, which is renamed to `path` on success.

    If the block raises an exception, the temporary folder is removed. What a killed process leaves
    is removed by the next one that writes there.

    Args:
        path: Path of the folder, on the disk; it must not exist, or be empty.

    Yields:
        Folder to write to.

    Raises:
        OSError: The disk is full, or the folder cannot be written.

    Example:
        >>> import tempfile
        >>> target = Path(tempfile.mkdtemp()) / "new" / "folder"
        >>> with atomic_folder(target) as temporary:
        ...     _ = (temporary / "one.txt").write_text("1")
        ...     target.exists()
        False
        >>> [path.name for path in target.iterdir()]
        ['one.txt']
    """
    with _replacing(path.absolute()) as temporary:
        temporary.mkdir()
        yield temporary


@contextlib.contextmanager
def _replacing(target: Path, suffix: str = "") -> Iterator[Path]:
    """Yields a new name beside a path, and renames what has the name to the path on success."""
    target.parent.mkdir(parents=True, exist_ok=True)
    remove_unfinished(target.parent)
    # Not by `tempfile`, which ignores the umask.
    temporary = target.parent / unfinished_name(suffix)
    try:
        yield temporary
        temporary.replace(target)
        _report_written(target)
    except OSError as error:
        name_target(error, temporary, target)
        raise
    finally:
        _remove(temporary)


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """Yields a folder for temporary files, which is removed when the block ends.

    Unlike those of `tempfile`, the folder of a process that was killed is removed by the next one.

    Raises:
        OSError: No temporary folder can be written.

    Example:
        >>> with temporary_folder() as folder:
        ...     _ = (folder / "one.txt").write_text("1")
        >>> folder.exists()
        False
    """
    parent = Path(tempfile.gettempdir())
    remove_unfinished(parent)
    folder = parent / unfinished_name()
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _report_written(target: Path) -> None:
    """Calls the functions of `after_writing` whose folder has the file or folder."""
    for folder, call in _WATCHED.items():
        if folder in target.parents:
            call()


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
