"""Which picture files a command line means. Needs no TensorFlow, so that mistakes come at once."""

from collections.abc import Iterator, Sequence

from visem_tf.errors import UserError
from visem_tf.runtime.storage import AnyPath, PathLike, as_path, reason_of

ENDINGS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".gif", ".webp", ".avif", ".tif", ".tiff"),
    *(".bmp", ".ppm", ".pgm", ".pbm", ".pnm"),
)
"""What the names of picture files in a folder end with, in small or capital letters; what is in
them is found by their content."""


def find_pictures(arguments: Sequence[PathLike]) -> list[AnyPath]:
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
      >>> from pathlib import Path
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
            found.extend(_in_folder(path))
        else:
            raise UserError(f"there is no picture {path}")
    return list(dict.fromkeys(found))


def unused_name(stem: str, ending: str, taken: set[str]) -> str:
    """A file name that is not taken yet, for results of pictures from several folders.

    Args:
      stem: How the name begins.
      ending: How it ends.
      taken: Names in use; is given the new one.

    Example:
      >>> taken = set()
      >>> unused_name("dog", ".jpg", taken), unused_name("dog", ".jpg", taken)
      ('dog.jpg', 'dog-2.jpg')
    """
    name, number = f"{stem}{ending}", 1
    while name.casefold() in taken:
        number += 1
        name = f"{stem}-{number}{ending}"
    taken.add(name.casefold())
    return name


def _in_folder(folder: AnyPath) -> list[AnyPath]:
    pictures = sorted(_below(folder))
    if not pictures:
        raise UserError(f"there is no picture in the folder {folder} ({', '.join(ENDINGS)})")
    return pictures


def _below(folder: AnyPath) -> Iterator[AnyPath]:
    try:
        paths: list[AnyPath] = list(folder.iterdir())
    except OSError as error:
        raise UserError(f"cannot read the folder {folder}: {reason_of(error)}") from error
    for path in paths:
        if path.name.startswith("."):
            continue
        if path.suffix.lower() in ENDINGS:
            yield path
        elif path.is_dir() and not path.is_symlink():  # links may lead in circles
            yield from _below(path)
