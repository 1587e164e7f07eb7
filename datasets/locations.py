"""Where the files of a data set lie: names that are tried, and options that decide."""

from __future__ import annotations

from collections.abc import Sequence

from visem_tf.config import DataConfig
from visem_tf.errors import UserError
from visem_tf.images.find import ENDINGS
from visem_tf.runtime.storage import AnyPath, as_path, is_remote

USUAL_OPTIONS = ("pictures", "captions", "splits", "val_share", "test_share", "split_seed")
"""The fields of `DataConfig` that formats with one file of captions are read by."""


def below(data_dir: AnyPath, name: str) -> AnyPath:
    """Returns a path that the user gave: below the folder of the data, or a path of its own.

    Example:
        >>> from pathlib import Path
        >>> str(below(Path("/data"), "photos")), str(below(Path("/data"), "/photos"))
        ('/data/photos', '/photos')
    """
    if is_remote(name) or name.startswith("~"):
        return as_path(name)
    return data_dir / name


def one_of(
    data_dir: AnyPath, names: Sequence[str], *, what: str, option: str, given: str = ""
) -> AnyPath:
    """Finds the one file or folder that exists, where several names are usual.

    Args:
        data_dir: the user's folder.
        names: what is tried.
        what: what it is, for messages: "captions".
        option: the option that names another, without dashes: "data.captions".
        given: the option's value; empty where nobody gave it.

    Raises:
        UserError: none is there, or more than one, so that the option must decide.
    """
    if given:
        path = below(data_dir, given)
        if not path.exists():
            raise UserError(f"there is no {path}; mend --{option}")
        return path
    found = [name for name in names if (data_dir / name).exists()]
    if not found:
        raise UserError(
            f"{data_dir} has no {what} ({' or '.join(names)}); name another with --{option}"
        )
    if len(found) > 1:
        raise UserError(
            f"{data_dir} has {' and '.join(found)}, either of which may be the {what}; choose one "
            f"with --{option}"
        )
    return data_dir / found[0]


def pictures_and_captions(
    data_dir: AnyPath,
    options: DataConfig,
    *,
    pictures: Sequence[str],
    captions: Sequence[str],
) -> tuple[AnyPath, AnyPath]:
    """Finds the folder of the pictures and the file of the captions.

    Args:
        data_dir: the user's folder.
        options: may name others.
        pictures: usual names of the folder.
        captions: usual names of the file.

    Raises:
        UserError: one of them is missing, or it is open which is meant.
    """
    folder = one_of(
        data_dir,
        pictures,
        what="folder of pictures",
        option="data.pictures",
        given=options.pictures,
    )
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder; name the folder of pictures with --data.pictures")
    file = one_of(
        data_dir, captions, what="captions", option="data.captions", given=options.captions
    )
    return folder, file


def pictures_in(folder: AnyPath) -> list[AnyPath]:
    """Returns the files of a folder that end like pictures, those in its folders too."""
    found: list[AnyPath] = []
    folders = [folder]
    while folders:
        paths: list[AnyPath] = list(folders.pop().iterdir())
        for path in sorted(paths, key=lambda path: path.name):
            if path.suffix.lower() in ENDINGS:
                found.append(path)
            elif not path.name.startswith(".") and path.is_dir():
                folders.append(path)
    return found
