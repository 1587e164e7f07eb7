"""The files of a dataset: usual names that are tried, and options that name others."""

from collections.abc import Callable, Sequence

from visem_tf.config import DataConfig
from visem_tf.errors import UserError
from visem_tf.images.find import ENDINGS, images_below, is_ignored
from visem_tf.runtime.storage import AnyPath, as_path, is_remote


def below(data_dir: AnyPath, name: str) -> AnyPath:
    """Returns a path of the user's: below the folder of the data, or absolute.

    Example:
        >>> from pathlib import Path
        >>> str(below(Path("/data"), "photos")), str(below(Path("/data"), "/photos"))
        ('/data/photos', '/photos')
    """
    return as_path(name) if is_remote(name) or name.startswith("~") else data_dir / name


def visible(folder: AnyPath) -> list[AnyPath]:
    """Returns what is in a folder, in alphabetical order, without what is ignored."""
    return sorted(path for path in folder.iterdir() if not is_ignored(path.name))


def named(folder: AnyPath, names: Sequence[str]) -> list[AnyPath]:
    """Returns what in a folder has one of the names, or else one of them in other letter case."""
    found = [folder / name for name in names if (folder / name).exists()]
    if found or not folder.is_dir():
        return found
    wanted = {name.casefold() for name in names}
    return [path for path in visible(folder) if path.name.casefold() in wanted]


def path_of(folder: AnyPath, name: str) -> AnyPath:
    """Returns the path of a usual name in a folder, in other letter case if only that exists."""
    return next(iter(named(folder, [name])), folder / name)


def all_named(folder: AnyPath, names: Sequence[str]) -> list[AnyPath]:
    """Returns what in a folder has any of several usual names, each in any letter case."""
    return [path for path in (path_of(folder, name) for name in names) if path.exists()]


def inner_folder(folder: AnyPath, names: Sequence[str]) -> AnyPath:
    """Returns the folder within a folder that an archive was unpacked to, if it has the names."""
    entries = visible(folder)
    is_outer = len(entries) == 1 and entries[0].is_dir() and named(entries[0], names)
    return entries[0] if is_outer else folder


def innermost(images: AnyPath) -> AnyPath:
    """Returns the last of folders of one name within each other, as Kaggle's Flickr30K has them."""
    # The path of the working directory has no name, and that of a folder above it no other.
    while images.name not in ("", "..") and (images / images.name).is_dir():
        images = images / images.name
    return images


def folders_of_images(data_dir: AnyPath) -> list[AnyPath]:
    """Returns the folders that may be that of the images: the data's own, or those within it."""
    entries = visible(data_dir)
    if any(path.suffix.lower() in ENDINGS for path in entries):
        return [data_dir]
    return [path for path in entries if path.is_dir() and any(images_below(path))]


def find_one(
    data_dir: AnyPath,
    options: DataConfig,
    field: str,
    what: str,
    names: Sequence[str],
    others: Callable[[AnyPath], Sequence[AnyPath]] = lambda data_dir: (),
    decisions: list[str] | None = None,
) -> AnyPath:
    """Returns the one file or folder that exists of several usual names.

    Args:
        data_dir: The user's folder.
        options: Options for reading the user's files.
        field: Field of the options that names another file, such as "captions".
        what: Name of the file in messages.
        names: Names to try.
        others: Returns what in the folder may be taken instead if none of the names exists; it is
            taken if it is only one.
        decisions: List that receives a line if another was taken.

    Raises:
        UserError: If none of them exists, or several do.
    """
    option, given = f"data.{field}", getattr(options, field)
    if given:
        path = below(data_dir, given)
        if not path.exists():
            raise UserError(f"{path} does not exist; correct --{option}")
        return path
    found = named(data_dir, names)
    if not found:
        found = list(others(data_dir))
        if len(found) != 1:
            raise UserError(
                f"{data_dir} has no {what} ({' or '.join(names)}); name another with --{option}"
            )
        if decisions is not None:
            place = found[0].name if found[0] != data_dir else "the folder itself"
            decisions.append(f"{place} is read as the {what}; --{option} names another")
    if len(found) > 1:
        raise UserError(
            f"{data_dir} has {' and '.join(path.name for path in found)}, each of which may be the "
            f"{what}; choose one with --{option}"
        )
    return found[0]
