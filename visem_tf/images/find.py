"""Finds the image files that command-line arguments name.

It needs no TensorFlow, so that mistakes are reported at once.
"""

from collections.abc import Iterator, Sequence

from visem_tf.errors import UserError
from visem_tf.runtime.storage import AnyPath, PathLike, as_path, reason_of

ENDINGS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".gif", ".webp", ".avif", ".tif", ".tiff"),
    *(".bmp", ".ppm", ".pgm", ".pbm", ".pnm", ".heic", ".heif"),
)
"""Endings of the names of image files in folders, in lower or upper case. The format of a file is
recognised by its content."""


_OF_SYSTEMS = frozenset({"__macosx", "thumbs.db", "desktop.ini", "@eadir"})


def is_ignored(name: str) -> bool:
    """Returns whether a file or folder is hidden, or kept by an operating system for itself.

    Example:
        >>> [is_ignored(name) for name in ("._a.jpg", "__MACOSX", "Thumbs.db", "a.jpg")]
        [True, True, True, False]
    """
    return name.startswith(".") or name.casefold() in _OF_SYSTEMS


def find_images(arguments: Sequence[PathLike]) -> list[AnyPath]:
    """Returns the image files that arguments name.

    Args:
        arguments: Files, of any name, and folders on any storage. A folder stands for all files in
            it and in the folders below it whose names have one of `ENDINGS`, without hidden ones.

    Returns:
        Paths in the order of the arguments, those of a folder in alphabetical order, without
        duplicates.

    Raises:
        UserError: An argument is neither a file nor a folder, or a folder cannot be read or has
            no image.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> folder = Path(tempfile.mkdtemp())
        >>> for name in ("b.JPG", "a.png", ".c.png", "notes.txt"):
        ...     (folder / name).touch()
        >>> [path.name for path in find_images([folder])]
        ['a.png', 'b.JPG']
    """
    found: list[AnyPath] = []
    for argument in arguments:
        path = as_path(argument)
        if path.is_file():
            found.append(path)
        elif path.is_dir():
            images = images_in(path)
            if not images:
                raise UserError(f"there is no image in the folder {path} ({', '.join(ENDINGS)})")
            found += images
        else:
            raise UserError(f"there is no image {path}")
    return list(dict.fromkeys(found))


def unused_name(stem: str, ending: str, taken: set[str]) -> str:
    """Returns a file name that is not used yet, for results of images from several folders.

    Args:
        stem: Beginning of the name.
        ending: End of the name.
        taken: Names in use, in lower case; the new name is added to it.

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


def images_in(folder: AnyPath) -> list[AnyPath]:
    """Returns the files that `images_below` yields, in alphabetical order."""
    return sorted(images_below(folder))


def images_below(folder: AnyPath) -> Iterator[AnyPath]:
    """Yields the files of a folder, and of the folders in it, that are named like images."""
    return files_below(folder, ENDINGS)


def files_below(folder: AnyPath, endings: Sequence[str]) -> Iterator[AnyPath]:
    """Yields the files of a folder, and of the folders in it, that have one of some endings.

    Links to folders are followed in alphabetical order after all other folders. A folder is read
    once, however many links lead to it. A link to a folder that contains the link is not followed.

    Args:
        folder: Folder on any storage.
        endings: Endings in lower case; those of the files may be in any.

    Raises:
        UserError: A folder cannot be read.
    """
    links: list[AnyPath] = []
    seen: set[AnyPath] = set()
    yield from _files_without_links(folder, folder.resolve(), endings, links, seen)
    while links:
        link = min(links)
        links.remove(link)
        target = link.resolve()
        if target not in link.parent.resolve().parents:
            yield from _files_without_links(link, target, endings, links, seen)


def _files_without_links(
    folder: AnyPath,
    real: AnyPath,
    endings: Sequence[str],
    links: list[AnyPath],
    seen: set[AnyPath],
) -> Iterator[AnyPath]:
    """Yields the files of a folder that are found without following links.

    Args:
        folder: Folder on any storage.
        real: The path of this folder with all links resolved.
        endings: Endings in lower case.
        links: Receives the links to folders.
        seen: Paths, without links, of the folders that have been read; receives those of this one.
    """
    if real in seen:
        return
    seen.add(real)
    try:
        paths: list[AnyPath] = list(folder.iterdir())
    except OSError as error:
        raise UserError(f"cannot read the folder {folder}: {reason_of(error)}") from error
    for path in paths:
        if is_ignored(path.name):
            continue
        if path.suffix.lower() in endings:
            yield path
        elif path.is_dir():
            if path.is_symlink():
                links.append(path)
            else:
                yield from _files_without_links(path, real / path.name, endings, links, seen)
