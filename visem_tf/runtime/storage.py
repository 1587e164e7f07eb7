"""Paths on any storage that TensorFlow's file layer reads: the disk, `gs://`, `s3://`, `ram://` …

`as_path` gives a `pathlib.Path` for what lies on the disk and a `StoredPath`, which has the part of
its interface that is used here, for everything with a scheme. Schemes that TensorFlow does not know
by itself, such as `s3://`, come with the package `tensorflow-io`.
"""

from __future__ import annotations

import io
import os
import posixpath
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias


class Status(NamedTuple):
    """Size in bytes and time of the last change, under the names that `os.stat` uses."""

    st_size: int
    st_mtime_ns: int


class StoredPath(os.PathLike[str]):
    """A path with a scheme, read and written by `tf.io.gfile`.

    Errors are `OSError`, as with `pathlib.Path`.

    Args:
        path: `scheme://…`; a slash at its end is dropped.

    Example:
        >>> folder = StoredPath("ram://example/folder")
        >>> (folder / "words.txt").write_bytes(b"one two")
        7
        >>> [path.name for path in folder.iterdir()]
        ['words.txt']
        >>> (folder / "words.txt").read_bytes()
        b'one two'
    """

    def __init__(self, path: str) -> None:
        scheme, _, rest = path.partition("://")
        self._path = f"{scheme}://{rest.rstrip('/')}"

    def __fspath__(self) -> str:
        return self._path

    def __str__(self) -> str:
        return self._path

    def __repr__(self) -> str:
        return f"StoredPath({self._path!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StoredPath) and self._path == other._path

    def __hash__(self) -> int:
        return hash(self._path)

    def __lt__(self, other: StoredPath) -> bool:
        return self._path < other._path

    def __truediv__(self, name: str | os.PathLike[str]) -> StoredPath:
        return StoredPath(f"{self._path}/{os.fspath(name)}")

    @property
    def name(self) -> str:
        """The last part."""
        return posixpath.basename(self._path.partition("://")[2])

    @property
    def suffix(self) -> str:
        """The ending of the last part, with its dot."""
        return posixpath.splitext(self.name)[1]

    @property
    def stem(self) -> str:
        """The last part without its ending."""
        return posixpath.splitext(self.name)[0]

    @property
    def parent(self) -> StoredPath:
        """The folder above."""
        scheme, _, rest = self._path.partition("://")
        return StoredPath(f"{scheme}://{posixpath.dirname(rest)}")

    def relative_to(self, folder: StoredPath) -> Path:
        """The path below a folder."""
        return Path(os.path.relpath(self._path, str(folder)))

    def expanduser(self) -> StoredPath:
        """The path itself."""
        return self

    def exists(self) -> bool:
        """Whether there is a file or folder."""
        return bool(self._call("exists"))

    def is_dir(self) -> bool:
        """Whether there is a folder."""
        return bool(self._call("isdir"))

    def is_file(self) -> bool:
        """Whether there is a file."""
        return self.exists() and not self.is_dir()

    def iterdir(self) -> Iterator[StoredPath]:
        """Yields what is in the folder."""
        for name in self._call("listdir"):
            yield self / name.rstrip("/")

    def stat(self) -> Status:
        """Size, and time of the last change."""
        found = self._call("stat")
        return Status(int(found.length), int(found.mtime_nsec))

    def mkdir(self, parents: bool = True, exist_ok: bool = True) -> None:
        """Makes the folder and those above it."""
        del parents, exist_ok  # the file layer knows no other way
        self._call("makedirs")

    def unlink(self, missing_ok: bool = False) -> None:
        """Removes the file."""
        if not missing_ok or self.exists():
            self._call("remove")

    def replace(self, target: str | os.PathLike[str]) -> None:
        """Renames the file, over what stands at the target."""
        self._call("rename", os.fspath(target), overwrite=True)

    def read_bytes(self) -> bytes:
        """The content of the file."""
        with _errors_of(self), self.open("rb") as file:
            return bytes(file.read())

    def read_text(self, encoding: str = "utf-8") -> str:
        """The content of the file as text."""
        return self.read_bytes().decode(encoding)

    def write_bytes(self, data: bytes) -> int:
        """Writes a file, whose folder is made if it is missing."""
        self.parent.mkdir()
        with _errors_of(self), self.open("wb") as file:
            file.write(data)
        return len(data)

    def copy_to(self, path: str | os.PathLike[str]) -> None:
        """Copies the file to the disk, over what stands there."""
        self._call("copy", os.fspath(path), overwrite=True)

    def copy_from(self, path: str | os.PathLike[str]) -> None:
        """Copies a file of the disk here, under another name first."""
        self.parent.mkdir()
        temporary = _unfinished(self)
        try:
            with _errors_of(self):
                _file_layer().copy(os.fspath(path), str(temporary), overwrite=True)
            temporary.replace(self)
        finally:
            temporary.unlink(missing_ok=True)

    def open(self, mode: str = "r", **_: Any) -> Any:
        """Opens the file."""
        return _file_layer().GFile(self._path, mode)

    def _call(self, name: str, *arguments: Any, **options: Any) -> Any:
        with _errors_of(self):
            return getattr(_file_layer(), name)(self._path, *arguments, **options)


AnyPath: TypeAlias = Path | StoredPath
"""A path on the disk or on any other storage."""


def readable(path: AnyPath) -> Path | io.BytesIO:
    """What libraries can read that know only the disk: a path of it, or the content of a file.

    Raises:
        OSError: a file elsewhere cannot be read.
    """
    return io.BytesIO(path.read_bytes()) if isinstance(path, StoredPath) else path


def is_remote(path: str | os.PathLike[str]) -> bool:
    """Whether a path has a scheme, and is not read as a file of the disk.

    Example:
        >>> is_remote("gs://bucket/data"), is_remote("/data")
        (True, False)
    """
    return "://" in os.fspath(path)


def as_path(path: str | os.PathLike[str]) -> AnyPath:
    """Returns a user's path as an object that can be read; `~` stands for the home folder.

    Example:
        >>> as_path("/data/flickr8k").name, as_path("gs://bucket/flickr8k").name
        ('flickr8k', 'flickr8k')
    """
    if is_remote(path):
        return StoredPath(os.fspath(path))
    return Path(path).expanduser()


def absolute(path: str) -> str:
    """Returns a user's path as it can be read from another working directory.

    Example:
        >>> absolute("gs://bucket/data/")
        'gs://bucket/data'
    """
    return str(as_path(path)) if is_remote(path) else str(Path(path).expanduser().absolute())


def file_names(folder: AnyPath) -> set[str]:
    """Returns the names of the files in a folder."""
    if isinstance(folder, StoredPath):
        # One question for the folder instead of one for each of its files.
        return {path.name for path in folder.iterdir()}
    with os.scandir(folder) as entries:
        return {entry.name for entry in entries if entry.is_file()}


def write_stored(path: StoredPath, data: bytes) -> None:
    """Writes a file under another name first, so that readers never see half of it."""
    temporary = _unfinished(path)
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _file_layer() -> Any:
    """`tf.io.gfile`, once TensorFlow has started quietly."""
    if "tensorflow" not in sys.modules:
        from visem_tf.runtime.startup import start_tensorflow

        start_tensorflow()
    import tensorflow as tf

    return tf.io.gfile


def _unfinished(path: StoredPath) -> StoredPath:
    """The name of a file while it is being written."""
    return path.parent / f".{secrets.token_hex(6)}.partial{path.suffix}"


class _errors_of:  # noqa: N801  (a context manager)
    """Turns the file layer's errors into `OSError`."""

    def __init__(self, path: StoredPath) -> None:
        self.path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is None or isinstance(error, OSError):
            return
        import errno

        import tensorflow as tf

        if isinstance(error, tf.errors.NotFoundError):
            raise FileNotFoundError(
                errno.ENOENT, "No such file or directory", str(self.path)
            ) from error
        if isinstance(error, tf.errors.PermissionDeniedError):
            raise PermissionError(errno.EACCES, "Permission denied", str(self.path)) from error
        if isinstance(error, tf.errors.UnimplementedError):
            raise OSError(
                errno.EPROTONOSUPPORT,
                "TensorFlow knows no such file system; tensorflow-io has more of them",
                str(self.path),
            ) from error
        if isinstance(error, tf.errors.OpError):
            raise OSError(errno.EIO, error.message, str(self.path)) from error
