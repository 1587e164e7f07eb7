"""Folders on any storage, worked on through a copy on the disk.

Training reads and writes at random: arrays that are mapped into memory, archives, event files that
grow. A folder with a scheme (`gs://…`) is therefore copied to the disk when a process first uses
it. Whenever `visem_tf.runtime.files` has written a file of the copy, and when the process ends, all
files that have changed are copied back.
"""

import atexit
import contextlib
import os
from pathlib import Path

from upath import UPath

from visem_tf.runtime.files import after_writing, is_unfinished, temporary_folder
from visem_tf.runtime.storage import PathLike, as_path, file_version, upload

_COPIES: dict[str, Path] = {}


def working_copy(path: PathLike) -> Path:
    """Returns a folder on the disk to work in: the folder itself, or the copy of a remote one.

    Args:
        path: Folder on any storage; need not exist.

    Raises:
        OSError: The storage cannot be read or written.

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
    if str(remote) not in _COPIES:
        end = contextlib.ExitStack()
        local = Path(os.path.realpath(end.enter_context(temporary_folder())))
        atexit.register(end.close)  # after the last changes were sent
        _follow(local, remote)
        _COPIES[str(remote)] = local
    return _COPIES[str(remote)]


def _follow(local: Path, remote: UPath) -> None:
    """Copies a remote folder to an empty one, and back whatever changes there from now on."""
    # An object store has no empty folders: there, a new folder does not exist yet.
    if remote.is_dir() and any(remote.iterdir()):
        remote.fs.get(f"{remote.path}/", f"{local}/", recursive=True)
    sent = _versions(local)

    def send_changes() -> None:
        found = _versions(local)
        changed = [name for name, version in found.items() if sent.get(name) != version]
        for name in sorted(changed, key=lambda name: (local / name).stat().st_mtime_ns):
            upload(local / name, remote / name)
            sent[name] = found[name]
        for name in sent.keys() - found.keys():
            (remote / name).unlink(missing_ok=True)
            del sent[name]

    after_writing(local, send_changes)
    atexit.register(send_changes)


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
