"""Which picture files a command line means. Needs no TensorFlow, so that mistakes come at once."""

import os
from collections.abc import Sequence
from pathlib import Path

from visem_tf.errors import UserError

ENDINGS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".gif", ".webp", ".avif", ".tif", ".tiff"),
    *(".bmp", ".ppm", ".pgm", ".pbm", ".pnm"),
)
"""What the names of picture files in a folder end with, in small or capital letters; what is in
them is found by their content."""


def find_pictures(arguments: Sequence[str | os.PathLike[str]]) -> list[Path]:
    """Returns the picture files that arguments name.

    Args:
      arguments: Files, taken whatever they are called, and folders, of which all files with one of
        `ENDINGS` are taken, in the folders below too; hidden files and folders are left out.

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
    found: list[Path] = []
    for argument in arguments:
        path = Path(argument).expanduser()
        if path.is_file():
            found.append(path)
        elif path.is_dir():
            found.extend(_in_folder(path))
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


def _in_folder(folder: Path) -> list[Path]:
    def refuse(error: OSError) -> None:
        raise UserError(f"cannot read the folder {error.filename}: {error.strerror}") from error

    pictures = []
    for parent, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        pictures += [
            Path(parent) / name
            for name in files
            if name.lower().endswith(ENDINGS) and not name.startswith(".")
        ]
    if not pictures:
        raise UserError(f"there is no picture in the folder {folder} ({', '.join(ENDINGS)})")
    return sorted(pictures)
