"""Numbered versions of a model in one folder, as TensorFlow Serving polls it.

A version is written beside its final place, under a name that is not a number, and then renamed, so
that a reader of the folder sees a whole version or none.
"""

import contextlib
import ctypes
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from visem_tf.errors import UserError
from visem_tf.runtime.files import name_target, remove_unfinished, unfinished_name

_RENAME_EXCHANGE = 2  # of Linux' renameat2
_CURRENT_FOLDER = -100


@contextlib.contextmanager
def new_version(to: str | os.PathLike[str], version: int | None = None) -> Iterator[list[Path]]:
    """Yields a list with a folder to write into, which becomes a version when the block ends.

    The final path of the version is then appended to the list: `paths[-1]`. If the block fails, the
    folder is removed.

    Args:
        to: Folder of all versions; it is made if it is missing.
        version: Version to write or replace, or None for the number after the highest.

    Yields:
        The list; the folder that it names is not made yet.

    Raises:
        UserError: If `to` is not a folder.

    Example:
        >>> import tempfile
        >>> with new_version(tempfile.mkdtemp()) as paths:
        ...     paths[0].mkdir()
        >>> paths[-1].name
        '1'
    """
    to = Path(to)
    try:
        to.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UserError(f"{to} is a file, or in one; give a folder to export to") from error
    # Not `mkdtemp`, whose folders other users cannot read.
    remove_unfinished(to)
    temporary = to / unfinished_name()
    paths = [temporary]
    try:
        yield paths
        paths.append(_put_in_place(temporary, to, version))
    except OSError as error:
        name_target(error, temporary, to)
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _put_in_place(temporary: Path, to: Path, version: int | None) -> Path:
    """Renames a finished folder to its number."""
    if version is not None and (to / str(version)).exists():
        target = to / str(version)
        _exchange(temporary, target)  # the previous version is now at `temporary`
        return target
    while True:
        taken = [int(path.name) for path in to.iterdir() if path.name.isdecimal()]
        target = to / str(max(taken, default=0) + 1 if version is None else version)
        try:
            return temporary.rename(target)
        except OSError:
            if version is not None or not target.exists():
                raise
            # Another export has just taken the number: try the next one.


def _exchange(one: Path, other: Path) -> None:
    """Swaps two folders, in one step where the system can."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    paths = (_CURRENT_FOLDER, os.fsencode(one), _CURRENT_FOLDER, os.fsencode(other))
    if rename is not None and rename(*paths, _RENAME_EXCHANGE) == 0:
        return
    aside = one.with_suffix(".old")
    other.rename(aside)
    one.rename(other)
    aside.rename(one)
