"""The files of a dataset: usual names that are tried, and options that name others."""

from __future__ import annotations

from collections.abc import Sequence

from visem_tf.errors import UserError
from visem_tf.images.find import images_below
from visem_tf.runtime.storage import AnyPath, as_path, is_remote


def below(data_dir: AnyPath, name: str) -> AnyPath:
    """Returns a path of the user's: below the folder of the data, or absolute.

    Example:
        >>> from pathlib import Path
        >>> str(below(Path("/data"), "photos")), str(below(Path("/data"), "/photos"))
        ('/data/photos', '/photos')
    """
    return as_path(name) if is_remote(name) or name.startswith("~") else data_dir / name


def find_one(
    data_dir: AnyPath, names: Sequence[str], what: str, option: str, given: str = ""
) -> AnyPath:
    """Returns the one file or folder that exists of several usual names.

    Args:
        data_dir: The user's folder.
        names: Names to try.
        what: Name of the file in messages, such as "captions".
        option: Option that names another file, without dashes, as in "data.captions".
        given: Value of the option; empty if it was not given.

    Raises:
        UserError: If none of them exists, or several do.
    """
    if given:
        path = below(data_dir, given)
        if not path.exists():
            raise UserError(f"{path} does not exist; correct --{option}")
        return path
    found = [name for name in names if (data_dir / name).exists()]
    if not found:
        raise UserError(
            f"{data_dir} has no {what} ({' or '.join(names)}); name another with --{option}"
        )
    if len(found) > 1:
        raise UserError(
            f"{data_dir} has {' and '.join(found)}, each of which may be the {what}; choose one "
            f"with --{option}"
        )
    return data_dir / found[0]


def images_in(folder: AnyPath) -> list[AnyPath]:
    """Returns the files of a folder, and of the folders in it, that are named like images."""
    return sorted(images_below(folder))
