"""Paths on any storage: the local disk, or whatever fsspec reads (`gs://`, `s3://`, `hf://` …).

A path on the disk is a `pathlib.Path`. A path with a scheme is a `upath.UPath`, which has the same
interface. Most schemes need a package of their own, such as `gcsfs` for `gs://`.
"""

import contextlib
import errno
import io
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, TypeAlias

import fsspec
from upath import UPath

from visem_tf.errors import UserError

AnyPath: TypeAlias = Path | UPath
"""A path on the disk or on any other storage."""

PathLike: TypeAlias = str | os.PathLike[str] | UPath
"""Types that functions accept as a path."""

PARTIAL = ".partial"
"""Part of the names of hidden files that are still being written."""


def is_remote(path: PathLike) -> bool:
    """Returns whether a path has a scheme, so that it is not read as a file on the disk.

    Example:
        >>> is_remote("gs://bucket/data"), is_remote("/data")
        (True, False)
    """
    return "://" in str(path)


def as_path(path: PathLike) -> AnyPath:
    """Returns the path that a user gave as an object that can be read.

    Args:
        path: Path on the disk, where `~` stands for the home folder, or path with a scheme.

    Raises:
        UserError: The scheme is unknown, the package that reads it is not installed, or there is no
            home folder for `~`.

    Example:
        >>> as_path("/data/flickr8k").name, as_path("memory://bucket/flickr8k/").name
        ('flickr8k', 'flickr8k')
    """
    if not is_remote(path):
        try:
            return Path(str(path)).expanduser()
        except RuntimeError as error:
            raise UserError(
                f"cannot use {path}: there is no such home folder; give a path without ~, or set "
                "HOME"
            ) from error
    try:
        fsspec.get_filesystem_class(str(path).partition("://")[0].rpartition("::")[2])
    except (ImportError, ValueError) as error:
        raise UserError(f"cannot use {path}: {error}") from error
    return UPath(str(path).rstrip("/"))


def absolute(path: str) -> str:
    """Returns the path that a user gave so that it can be read from another working directory.

    Example:
        >>> absolute("memory://bucket/data/")
        'memory://bucket/data'
    """
    try:
        return str(as_path(path) if is_remote(path) else as_path(path).absolute())
    except FileNotFoundError as error:
        raise UserError(
            f"cannot use {path}: the current folder was deleted; change to another"
        ) from error


def file_names(folder: AnyPath) -> set[str]:
    """Returns the names of everything in a folder, by one request instead of one for each file."""
    return {path.name for path in folder.iterdir()}


def file_version(path: AnyPath) -> tuple[int | str, ...]:
    """Returns values that change when a file changes.

    Raises:
        OSError: The file is missing.
    """
    if isinstance(path, Path):
        status = path.stat()
        return status.st_size, status.st_mtime_ns
    return (path.fs.ukey(path.path),)


class FilePart(NamedTuple):
    """A part of a file, such as a member of an archive.

    Attributes:
        start: Position of its first byte.
        size: Number of its bytes.
    """

    start: int
    size: int


def require_regular(path: AnyPath) -> None:
    """Checks that a path is not a device or a pipe, whose content may never come or never end.

    Raises:
        OSError: It is one, or it is missing.
    """
    if isinstance(path, Path):
        mode = path.stat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise OSError(errno.EINVAL, "not a regular file", str(path))


def read_regular(path: AnyPath, part: FilePart | None = None) -> bytes:
    """Returns the content of a file; a device or a pipe, whose content may never end, is refused.

    Args:
        path: Path of the file.
        part: Part to read; None reads the whole file.

    Raises:
        OSError: The file is missing, cannot be read, or ends within the part.
    """
    require_regular(path)
    if part is None:
        return path.read_bytes()
    with path.open("rb") as file:
        file.seek(part.start)
        content: bytes = file.read(part.size)
    if len(content) < part.size:
        raise OSError(errno.EIO, "the file ends early", str(path))
    return content


def exists(path: AnyPath) -> bool:
    """Returns whether there is such a file or folder; a name that no file can have is none."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def readable(path: AnyPath) -> Path | io.BytesIO:
    """Returns what libraries can read that know the disk only: its path, or the file's content.

    Raises:
        OSError: A file with a scheme cannot be read.
    """
    return path if isinstance(path, Path) else io.BytesIO(path.read_bytes())


def reason_of(error: BaseException) -> str:
    r"""Returns why something cannot be used, on one line; errors of fsspec have no `strerror`.

    Example:
        >>> reason_of(ValueError("a reason\nand its details"))
        'a reason'
        >>> reason_of(KeyError())
        'KeyError'
    """
    if isinstance(error, FileNotFoundError):
        return os.strerror(errno.ENOENT)
    text = getattr(error, "strerror", None) or str(error)
    return text.strip().partition("\n")[0] or type(error).__name__


@contextlib.contextmanager
def reading(path: PathLike, advice: str) -> Iterator[None]:
    """Turns the error of a file or folder that cannot be read into the user's.

    Args:
        path: File or folder that the block reads.
        advice: What the user can do.

    Raises:
        UserError: The block has raised an `OSError`.
    """
    try:
        yield
    except OSError as error:
        place = error.filename or path
        raise UserError(f"cannot read {place} ({reason_of(error)}); {advice}") from error


def upload(file: Path, target: UPath) -> None:
    """Copies a file of the disk to another storage, whole or not at all.

    The file is copied under another name and then moved, so that readers never see half of it.

    Args:
        file: File on the disk.
        target: Path of the copy; missing folders are made.

    Raises:
        OSError: The storage cannot be written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.parent / f".{secrets.token_hex(6)}{PARTIAL}{target.suffix}"
    try:
        target.fs.put_file(str(file), temporary.path)
        target.fs.mv(temporary.path, target.path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
