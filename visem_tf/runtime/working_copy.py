"""Folders on any storage, worked on through a copy on the disk.

Training reads and writes at random: arrays that are mapped into memory, archives, event files that
grow. A folder with a scheme (`gs://…`) is therefore copied to the disk when it is first used, and
every file that `visem_tf.runtime.files` finishes goes back at once, with all else that has changed.
The copy is of one process and is gone with it; what lies on the storage is what counts.
"""

from __future__ import annotations

import atexit
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from visem_tf.runtime import files
from visem_tf.runtime.storage import StoredPath, as_path, is_remote


class _State(NamedTuple):
    """What tells whether a file has changed."""

    size: int
    changed_ns: int


class WorkingCopy:
    """A copy of a folder, made when it is created.

    Args:
        remote: the folder; need not exist.
        local: an empty folder on the disk.

    Example:
        >>> remote = StoredPath("ram://working-copy")
        >>> _ = (remote / "words.txt").write_bytes(b"one")
        >>> copy = WorkingCopy(remote, Path(tempfile.mkdtemp()))
        >>> (copy.local / "words.txt").read_text()
        'one'
        >>> _ = (copy.local / "more.txt").write_text("two")
        >>> copy.send()
        >>> (remote / "more.txt").read_text()
        'two'
    """

    def __init__(self, remote: StoredPath, local: Path) -> None:
        self.remote = remote
        self.local = local
        self._sent: dict[str, _State] = {}
        remote.mkdir()  # what cannot be written is known at once
        for name in _files_below(remote):
            target = local / name
            target.parent.mkdir(parents=True, exist_ok=True)
            (remote / name).copy_to(target)
        self._sent = self._found()

    def send(self) -> None:
        """Copies what has changed since to the storage, oldest first, and removes what is gone.

        Raises:
            OSError: the storage cannot be written.
        """
        found = self._found()
        changed = [name for name, state in found.items() if self._sent.get(name) != state]
        for name in sorted(changed, key=lambda name: found[name].changed_ns):
            (self.remote / name).copy_from(self.local / name)
            self._sent[name] = found[name]
        for name in self._sent.keys() - found.keys():
            (self.remote / name).unlink(missing_ok=True)
            del self._sent[name]

    def _found(self) -> dict[str, _State]:
        """The files that are there, without those that are still being written."""
        found = {}
        for folder, folders, names in os.walk(self.local):
            folders[:] = [name for name in folders if not files.is_unfinished(Path(name))]
            for name in names:
                path = Path(folder) / name
                if not files.is_unfinished(path):
                    status = path.stat()
                    state = _State(status.st_size, status.st_mtime_ns)
                    found[path.relative_to(self.local).as_posix()] = state
        return found


_COPIES: dict[str, WorkingCopy] = {}
_FOLDERS: list[tempfile.TemporaryDirectory[str]] = []  # live as long as the process


def working_copy(path: str | os.PathLike[str]) -> Path:
    """Returns a folder of the disk to work in: the folder itself, or a copy of a remote one.

    Args:
        path: the user's folder.

    Raises:
        OSError: the storage cannot be read or written.

    Example:
        >>> working_copy("/data/run") == Path("/data/run")
        True
    """
    if not is_remote(path):
        return Path(path).expanduser()
    remote = as_path(path)
    assert isinstance(remote, StoredPath)
    if str(remote) not in _COPIES:
        folder = tempfile.TemporaryDirectory(prefix="visem_tf-")
        copy = WorkingCopy(remote, Path(os.path.realpath(folder.name)))
        files.after_writing(copy.local, copy.send)
        atexit.register(copy.send)  # runs before the folder is removed
        _FOLDERS.append(folder)
        _COPIES[str(remote)] = copy
    return _COPIES[str(remote)].local


def _files_below(folder: StoredPath, prefix: str = "") -> Iterator[str]:
    """Yields the paths of all files, relative to the folder."""
    for path in folder.iterdir():
        if path.is_dir():
            yield from _files_below(path, f"{prefix}{path.name}/")
        else:
            yield f"{prefix}{path.name}"
