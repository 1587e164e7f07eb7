"""Finds the files of images whose names in the data differ from those on the disk.

Names may differ in letter case, in the form of Unicode (NFC, NFD), in the kind of slashes, in the
ending, and in the folders before the name. A file is taken if it is the only one that may be meant.
"""

import unicodedata
from collections.abc import Iterable
from pathlib import PurePosixPath

from visem_tf.datasets.records import Record
from visem_tf.errors import UserError
from visem_tf.images.find import ENDINGS, images_in
from visem_tf.runtime.storage import AnyPath, file_names


def plain_name(name: str) -> str:
    r"""Returns a name without regard to letter case, the form of Unicode and the kind of slashes.

    Example:
        >>> plain_name("Cafe\u0301.JPG") == plain_name("caf\u00e9.jpg")
        True
        >>> plain_name("train\\1.jpg") == plain_name("train/1.jpg")
        True
    """
    return unicodedata.normalize("NFC", name).casefold().replace("\\", "/")


def without_ending(name: str) -> str:
    """Returns a name without the ending of an image; other endings are parts of the name.

    Example:
        >>> without_ending("a/b.JPG"), without_ending("a.v2")
        ('a/b', 'a.v2')
    """
    path = PurePosixPath(name)
    return name[: -len(path.suffix)] if path.suffix.lower() in ENDINGS else name


class ImageFiles:
    """The image files in the folders of a dataset; every folder is listed once.

    Args:
        named: Paths of all images that the data name. No other name gets one of these files.
    """

    def __init__(self, named: Iterable[AnyPath]):
        self._named = set(named)
        self._names: dict[AnyPath, set[str]] = {}
        self._similar: dict[AnyPath, list[dict[str, list[AnyPath]]]] = {}

    def find(self, record: Record) -> AnyPath:
        """Returns the file of an image.

        Raises:
            LookupError: There is none, or several may be meant; the message says so.
        """
        path = record.path
        if path.name in self._names_in(path.parent):
            return path
        root = path.parent
        for _ in range(record.file_name.count("/")):
            root = root.parent
        name = plain_name(record.file_name)
        keys = name, without_ending(name), PurePosixPath(name).name
        for index, key in zip(self._index(root), keys, strict=True):
            found = [file for file in index.get(key, ()) if file not in self._named]
            if len(found) > 1:
                files = " or ".join(file.relative_to(root).as_posix() for file in found[:2])
                raise LookupError(f"may be {files}; name one of them")
            if found:
                self._named.add(found[0])
                return found[0]
        raise LookupError(f"not in {root.name or root}")

    def _names_in(self, folder: AnyPath) -> set[str]:
        if folder not in self._names:
            try:
                self._names[folder] = file_names(folder) if folder.is_dir() else set()
            except (OSError, ValueError):  # a name that no folder can have
                self._names[folder] = set()
        return self._names[folder]

    def _index(self, root: AnyPath) -> list[dict[str, list[AnyPath]]]:
        """Returns the images below a folder by path, by path without ending, and by name."""
        if root not in self._similar:
            by_path: dict[str, list[AnyPath]] = {}
            by_stem: dict[str, list[AnyPath]] = {}
            by_name: dict[str, list[AnyPath]] = {}
            try:
                images = images_in(root)
            except UserError:  # a folder that cannot be read
                images = []
            for image in images:
                path = plain_name(image.relative_to(root).as_posix())
                by_path.setdefault(path, []).append(image)
                by_stem.setdefault(without_ending(path), []).append(image)
                by_name.setdefault(PurePosixPath(path).name, []).append(image)
            self._similar[root] = [by_path, by_stem, by_name]
        return self._similar[root]
