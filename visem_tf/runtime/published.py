"""The folder of a published model: its card, the digests of its files, and how it is delivered.

    card.json        name, format, data, figures, versions
    card.md          the same for people
    config.json      configuration
    vocabulary.txt   one word per line
    *.npz            weights in 16 bits
    SHA256SUMS       digests of all other files, in the format of `sha256sum`

`SHA256SUMS` is the last file to arrive: a folder without it is incomplete and not read.
"""

import hashlib
import shutil
from pathlib import Path
from typing import Any, TypedDict

from upath import UPath

from visem_tf.errors import UserError
from visem_tf.runtime import hub
from visem_tf.runtime.files import atomic_folder, write_atomically
from visem_tf.runtime.json_files import parse_json
from visem_tf.runtime.storage import AnyPath, as_path, reason_of, upload

FORMAT = 1
"""Version of the folder's format, increased when former versions can no longer read it."""

CARD = "card.json"
CARD_FOR_PEOPLE = "card.md"
SUMS = "SHA256SUMS"


class _Card(TypedDict):
    format: int


def is_published(folder: AnyPath) -> bool:
    """Returns whether a folder is a published model, complete or not."""
    return (folder / CARD).is_file() or (folder / SUMS).is_file()


def read_card(folder: AnyPath) -> dict[str, Any]:
    """Reads the card of a published model.

    Raises:
        UserError: If the card is missing or damaged, or the model is of a newer format.
    """
    try:
        card = parse_json((folder / CARD).read_bytes(), _Card)
    except OSError as error:
        raise _incomplete(folder, f"its {CARD} cannot be read: {reason_of(error)}") from error
    except ValueError as error:
        raise _incomplete(folder, f"its {CARD} is damaged: {error}") from error
    if card["format"] != FORMAT:
        raise UserError(
            f"the model {folder} was published with visem_tf {card.get('published_with')} in "
            f"format {card['format']}, and this version reads format {FORMAT}; install a newer "
            "version of visem_tf"
        )
    return dict(card)


def check_files(folder: Path) -> None:
    """Compares all files of a published model with their digests.

    Args:
        folder: Folder on the disk.

    Raises:
        UserError: If a file is missing, truncated or changed; the message names it.
    """
    try:
        lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
        listed = [(digest, name) for digest, _, name in (line.partition("  ") for line in lines)]
    except (OSError, UnicodeDecodeError) as error:
        raise _incomplete(folder, f"it has no readable {SUMS}") from error
    for digest, name in listed:
        path = folder / name
        if Path(name).name != name or not path.is_file():
            raise _incomplete(folder, f"its file {name} is missing")
        if _digest(path) != digest:
            raise _incomplete(folder, f"its file {name} is damaged: its digest differs")


def write_digests(folder: Path) -> None:
    """Writes the digests of all files of a folder on the disk."""
    lines = [f"{_digest(path)}  {path.name}\n" for path in sorted(folder.iterdir())]
    write_atomically(folder / SUMS, "".join(lines))


def check_free(place: str) -> None:
    """Checks that a model can be published in a place.

    Args:
        place: Folder on any storage, or `hf://owner/name`.

    Raises:
        UserError: If the folder exists and is not empty, or the address is invalid.
    """
    if hub.is_hub(place):
        hub.repository(place)
        return
    target = as_path(place)
    try:
        is_taken = target.exists() and not (target.is_dir() and not any(target.iterdir()))
    except OSError as error:
        raise UserError(f"cannot use {place}: {reason_of(error)}; choose another --to") from error
    if is_taken:
        raise UserError(f"{place} exists; give a new folder to --to, or remove it first")


def deliver(folder: Path, place: str) -> None:
    """Copies a complete folder to a place, whole or not at all.

    Args:
        folder: Folder on the disk that `write_digests` has completed.
        place: Folder on any storage, which must not have files, or `hf://owner/name`, where the
            files of an earlier publication are replaced.

    Raises:
        UserError: If the place has files already, or the hub cannot be used.
        OSError: If the storage cannot be written.
    """
    check_free(place)
    if hub.is_hub(place):
        hub.upload(folder, place)
    elif isinstance(target := as_path(place), Path):
        _copy(folder, target.absolute())
    else:
        _upload(folder, target)


def _copy(folder: Path, target: Path) -> None:
    """Copies a folder on the disk under another name, which is then changed."""
    with atomic_folder(target) as temporary:
        for path in folder.iterdir():
            shutil.copyfile(path, temporary / path.name)


def _upload(folder: Path, target: UPath) -> None:
    """Uploads the files of a folder, the digests last."""
    names = sorted((path.name for path in folder.iterdir()), key=lambda name: (name == SUMS, name))
    sent: list[UPath] = []
    try:
        for name in names:
            sent.append(target / name)
            upload(folder / name, sent[-1])
    except BaseException:
        for path in sent:
            path.unlink(missing_ok=True)
        raise


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _incomplete(folder: AnyPath, reason: str) -> UserError:
    return UserError(f"the model {folder} cannot be used: {reason}; get it again")
