"""Folders on any storage, worked on through a copy on the disk.

Training reads and writes at random: arrays that are mapped into memory, archives, event files that
grow. A folder with a scheme (`gs://…`) is therefore copied to the disk when a process first uses
it. Whenever `visem_tf.runtime.files` has written a file of the copy, and when the process ends, all
files that have changed are copied back, unless the process only reads the folder. Workers that
train together exchange their files when they wait for each other, see
`visem_tf.runtime.workers.barrier`.
"""

import atexit
import contextlib
import os
from pathlib import Path, PurePosixPath

from upath import UPath

from visem_tf.errors import UserError
from visem_tf.runtime.files import after_writing, is_unfinished, temporary_folder, unfinished_name
from visem_tf.runtime.storage import PathLike, as_path, file_version, reason_of, upload
from visem_tf.runtime.streams import warn

_COPIES: dict[str, "WorkingCopy"] = {}


def working_copy(path: PathLike, *, read_only: bool = False) -> Path:
    """Returns a folder on the disk to work in: the folder itself, or the copy of a remote one.

    Args:
        path: Folder on any storage; need not exist.
        read_only: Whether the caller writes nothing there, so that nothing needs to be copied back.

    Raises:
        OSError: The storage cannot be read.

    Example:
        >>> (as_path("memory://run") / "words.txt").write_text("one")
        3
        >>> local = working_copy("memory://run")
        >>> (local / "words.txt").read_text()
        'one'
        >>> from visem_tf.runtime.files import write_atomically
        >>> write_atomically(local / "more.txt", "two")
        >>> (as_path("memory://run") / "more.txt").read_text()
        'two'
    """
    remote = as_path(path)
    if isinstance(remote, Path):
        return remote
    copy = _COPIES.get(str(remote))
    if copy is None:
        copy = _COPIES[str(remote)] = WorkingCopy(remote, read_only=True)
    if copy.read_only and not read_only:
        copy.read_only = False
        after_writing(copy.path, copy.send)
        atexit.register(copy.send)
    return copy.path


def send_copies() -> None:
    """Copies back what has changed in the working copies of this process.

    Raises:
        UserError: A storage cannot be written.
    """
    for copy in list(_COPIES.values()):
        copy.send()


def finish_copies() -> None:
    """Copies back what has changed, for the last time in this process.

    Raises:
        UserError: A storage cannot be written.
    """
    for copy in _COPIES.values():
        atexit.unregister(copy.send)
        copy.send()


def fetch_copies() -> None:
    """Brings to the working copies of this process what other processes have changed.

    Raises:
        OSError: A storage cannot be read.
    """
    for copy in list(_COPIES.values()):
        copy.fetch()


class WorkingCopy:
    """A copy of a remote folder in a temporary one, which is removed with the process.

    Args:
        remote: The remote folder, which need not exist.
        read_only: Whether nothing is copied back.

    Attributes:
        path: The folder on the disk.
        read_only: The argument.

    Raises:
        OSError: The storage cannot be read.
    """

    def __init__(self, remote: UPath, *, read_only: bool = False) -> None:
        self.remote = remote
        self.read_only = read_only
        end = contextlib.ExitStack()
        temporary = Path(os.path.realpath(end.enter_context(temporary_folder())))
        atexit.register(end.close)  # after the last changes were sent
        # Cleaners of temporary folders remove the oldest files first: while this one is there, a
        # file that is missing from the copy was removed by this process.
        self._oldest = temporary / "oldest"
        self._oldest.touch()
        self.path = temporary / "copy"
        self.path.mkdir()
        self._seen = self._listing()  # version of each remote file when it was last copied
        if self._seen:
            remote.fs.get(f"{remote.path}/", f"{self.path}/", recursive=True)
        self._here = _versions(self.path)  # version of each file here that equals the remote one
        self._sent: set[str] = set()  # files whose remote version is of this process

    def send(self) -> None:
        """Copies files that were changed here to the remote folder, and removes those removed here.

        Files that another program may have removed from the temporary folder stay there.

        Raises:
            UserError: The storage cannot be written.
        """
        if self.read_only:
            return
        try:
            self._send()
        except Exception as error:  # of whichever library writes to the storage
            raise UserError(
                f"cannot write {self.remote} ({reason_of(error)}); run the same command again when "
                "it can be written"
            ) from error

    def _send(self) -> None:
        found = _versions(self.path)
        changed = [name for name, version in found.items() if self._here.get(name) != version]
        for name in sorted(changed, key=lambda name: (self.path / name).stat().st_mtime_ns):
            upload(self.path / name, self.remote / name)
            self._here[name] = found[name]
            self._sent.add(name)
        removed = self._here.keys() - found.keys()
        if self._oldest.exists():
            for name in removed:
                (self.remote / name).unlink(missing_ok=True)
        elif removed:
            warn(
                f"another program has removed files from {self.path}, the working copy of "
                f"{self.remote}; they stay in {self.remote}"
            )
        for name in removed:
            del self._here[name]

    def fetch(self) -> None:
        """Copies files that others have changed or removed in the remote folder to the disk.

        Nothing may have changed here since the last `send`.

        Raises:
            OSError: The storage cannot be read.
        """
        found = self._listing()
        for name, version in found.items():
            if self._seen.get(name) != version and name not in self._sent:
                self._fetch_file(name)
        for name in self._seen.keys() - found.keys() - self._sent:
            (self.path / name).unlink(missing_ok=True)
            self._here.pop(name, None)
        self._seen, self._sent = found, set()

    def _fetch_file(self, name: str) -> None:
        target = self.path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.parent / unfinished_name(target.suffix)
        try:
            self.remote.fs.get_file((self.remote / name).path, str(temporary))
            temporary.replace(target)  # arrays that are mapped into memory stay as they were
            self._here[name] = file_version(target)
        except FileNotFoundError:  # removed since it was listed
            pass
        finally:
            temporary.unlink(missing_ok=True)

    def _listing(self) -> dict[str, str]:
        """Returns a text for each remote file that changes with its content."""
        fs, root = self.remote.fs, self.remote.path
        fs.invalidate_cache()
        # An object store has no empty folders: there, a new folder does not exist yet.
        if not self.remote.is_dir():
            return {}
        return {
            PurePosixPath(path).relative_to(root).as_posix(): str(info)
            for path, info in fs.find(root, detail=True).items()
            if not is_unfinished(Path(path))
        }


def _versions(folder: Path) -> dict[str, tuple[int | str, ...]]:
    """The files below a folder, without those that are still being written."""
    found = {}
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not is_unfinished(Path(name))]
        for name in names:
            path = Path(parent) / name
            if not is_unfinished(path):
                found[path.relative_to(folder).as_posix()] = file_version(path)
    return found
