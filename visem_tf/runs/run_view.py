"""A temporary copy of a run directory, for work that must leave the run as it is."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from visem_tf.errors import UserError
from visem_tf.runtime.files import temporary_folder
from visem_tf.runtime.storage import reason_of
from visem_tf.runtime.working_copy import working_copy


@contextlib.contextmanager
def run_view(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a folder with copies of the files of a run, and links to its folders.

    Stages that write files, but none into the folders of the run, can work in it. It is removed
    afterwards.

    Args:
        folder: Run directory on any storage, which need not be writable.

    Raises:
        UserError: The run directory cannot be read.
    """
    with temporary_folder() as temporary:
        view = temporary / "run"
        view.mkdir()
        try:
            for path in working_copy(folder, read_only=True).absolute().iterdir():
                if path.is_dir():
                    (view / path.name).symlink_to(path)
                elif path.is_file():
                    shutil.copyfile(path, view / path.name)
        except OSError as error:
            raise UserError(f"cannot read {folder}: {reason_of(error)}") from error
        yield view
