"""Which picture files a command line means. Needs no TensorFlow, so that mistakes come at once."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from visem_tf.errors import UserError
from visem_tf.runtime.storage import AnyPath, StoredPath, as_path

ENDINGS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".gif", ".webp", ".avif", ".tif", ".tiff"),
    *(".bmp", ".ppm", ".pgm", ".pbm", ".pnm"),
)
"""What the names of picture files in a folder end with, in small or capital letters; what is in
them is found by their content."""


def find_pictures(arguments: Sequence[str | os.PathLike[str]]) -> list[AnyPath]:
    """Returns the picture files that arguments name.

    Args:
      arguments: Files on any storage, taken whatever they are called, and folders, of which all
        files with one of `ENDINGS` are taken, in the folders below too; hidden files and folders
        are left out.

    Returns:
      Paths in the order of the arguments, those of a folder in alphabetical order; none twice.

    Raises:
      UserError: An argument is neither file nor folder, or a folder that cannot be read or has no
        picture.

    Example:
      >>> import tempfile
      >>> folder = Path(tempfile.mkdtemp())
      >>> for name in ("b.JPG", "a.png", ".c.png", "notes.txt"):
      ...     (folder / name).touch()
      >>> [path.name for path in find_pictures([folder])]
      ['a.png', 'b.JPG']
    """
    found: list[AnyPath] = []
    for argument in arguments:
        path = as_path(argument)
        if path.is_file():
            found.append(path)
        elif path.is_dir():
            found.extend(_checked(path))
        else:
            raise UserError(f"there is no picture {path}")
    return list(dict.fromkeys(found))


def free_name(stem: str, ending: str, taken: set[str]) -> str:
    """A file name that is not taken yet, for results of pictures from several folders.

    Args:
      stem: How the name begins.
      ending: How it ends.
      taken: Names in use; is given the new one.

    Example:
      >>> taken = set()
      >>> free_name("dog", ".jpg", taken), free_name("dog", ".jpg", taken)
      ('dog.jpg', 'dog-2.jpg')
    """
    name, number = f"{stem}{ending}", 1
    while name.casefold() in taken:
        number += 1
        name = f"{stem}-{number}{ending}"
    taken.add(name.casefold())
    return name


def _checked(folder: AnyPath) -> list[AnyPath]:
    pictures = list(_below(folder)) if isinstance(folder, StoredPath) else _in_folder(folder)
    if not pictures:
        raise UserError(f"there is no picture in the folder {folder} ({', '.join(ENDINGS)})")
    return sorted(pictures)


def _is_picture(name: str) -> bool:
    return name.lower().endswith(ENDINGS) and not name.startswith(".")


def _below(folder: StoredPath) -> Iterator[StoredPath]:
    try:
        paths = list(folder.iterdir())
    except OSError as error:
        raise UserError(f"cannot read the folder {folder}: {error.strerror}") from error
    for path in paths:
        if _is_picture(path.name):
            yield path
        elif not path.name.startswith(".") and path.is_dir():
            yield from _below(path)


def _in_folder(folder: Path) -> list[AnyPath]:
    def refuse(error: OSError) -> None:
        raise UserError(f"cannot read the folder {error.filename}: {error.strerror}") from error

    pictures: list[AnyPath] = []
    for parent, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        pictures += [Path(parent) / name for name in files if _is_picture(name)]
    return pictures
