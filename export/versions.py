"""Numbered versions of a model in one folder, as TensorFlow Serving polls it.

A version is written beside its place, under a name that is no number, and then renamed: whoever
looks at the folder sees a version whole or not at all.
"""

import contextlib
import ctypes
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from visem_tf.errors import UserError

_RENAME_EXCHANGE = 2  # of Linux' renameat2
_HERE = -100


@contextlib.contextmanager
def new_version(to: str | os.PathLike[str], version: int | None = None) -> Iterator[list[Path]]:
    """Yields a list with a folder to write into, which becomes a version when the block ends.

    Its place is put into the list then: `paths[-1]`. If the block fails, nothing is left of it.

    Args:
      to: The folder of all versions; it is made if it is missing.
      version: Replaces that version if it exists; None: the number after the highest there is.

    Yields:
      The list; the folder that it names is not made yet.

    Raises:
      UserError: `to` is no folder.

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
    # Not mkdtemp, whose folders nobody else may read.
    temporary = to / f".{secrets.token_hex(6)}.partial"
    paths = [temporary]
    try:
        yield paths
        paths.append(_put_in_place(temporary, to, version))
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _put_in_place(temporary: Path, to: Path, version: int | None) -> Path:
    """Renames a finished folder to its number."""
    if version is not None:
        target = to / str(version)
        if target.exists():
            _exchange(temporary, target)  # what stood there is now at `temporary`
        else:
            temporary.rename(target)
        return target
    while True:
        taken = [int(path.name) for path in to.iterdir() if path.name.isdecimal()]
        target = to / str(max(taken, default=0) + 1)
        try:
            temporary.rename(target)
        except OSError:
            if not target.exists():
                raise
            continue  # another export took the number just now
        return target


def _exchange(one: Path, other: Path) -> None:
    """Swaps two folders, in one step where the system can."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    names = os.fsencode(one), os.fsencode(other)
    if rename is not None and rename(_HERE, names[0], _HERE, names[1], _RENAME_EXCHANGE) == 0:
        return
    aside = one.with_suffix(".old")
    other.rename(aside)
    one.rename(other)
    aside.rename(one)
