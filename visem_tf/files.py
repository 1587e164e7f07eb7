"""Files that are either whole or absent: written beside their place, then renamed into it."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a temporary path in the folder of `path`, renamed to `path` on success.

    The temporary name keeps the suffix, since writers such as `numpy.save` and Keras choose their
    format by it. Missing parent folders are made. When the block raises, the temporary file is
    removed and what stood at `path` stays as it was. A `path` that is no regular file (a pipe,
    `/dev/stdout`) cannot be renamed over and is yielded itself.

    Args:
        path: where the file shall stand.

    Yields:
        The path to write to.

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
    target = Path(path)
    if target.is_dir():
        raise IsADirectoryError(f"{target} is a folder, not a file")
    if target.exists() and not target.is_file():
        yield target
        return
    target = Path(os.path.realpath(target))  # through a link: keep the link, replace what it names
    target.parent.mkdir(parents=True, exist_ok=True)
    # Short, so that a long but valid name stays valid; not `mkstemp`, which ignores the umask.
    temporary = target.parent / f".{secrets.token_hex(6)}.partial{target.suffix}"
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(target)
    except OSError as error:
        if error.filename is None:  # a full disk does not say whose file it was
            error.filename = str(target)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def write_atomically(path: str | os.PathLike[str], content: bytes | memoryview | str) -> None:
    """Writes a whole file, or leaves the old one untouched.

    Args:
        path: where the file shall stand; parent folders are made.
        content: bytes, or text, which is written as UTF-8 with its line ends as they are.

    Raises:
        OSError: the folder cannot be written, or the disk is full.

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
