"""Models on the Hugging Face Hub, at `hf://owner/name` or `hf://owner/name@revision`.

The client is the package `huggingface_hub` (extra `hub`), which keeps downloaded files, so that a
model can be used again without a network, and which knows the user's token.
"""

import importlib
import re
import shutil
from pathlib import Path
from typing import Any, NamedTuple

from visem_tf.errors import UserError

_ADDRESS = re.compile(r"hf://([\w.-]+/[\w.-]+)(?:@([\w./-]+))?/?")
_FILES = ("*.json", "*.md", "*.npz", "*.txt", "SHA256SUMS")


class Repository(NamedTuple):
    """A repository of the hub.

    Attributes:
        name: Owner and name, as in "owner/name".
        revision: Branch, tag or commit; None is the newest commit.
    """

    name: str
    revision: str | None


def is_hub(address: str) -> bool:
    """Returns whether an address is of the hub."""
    return address.startswith("hf://")


def repository(address: str) -> Repository:
    """Parses an address.

    Raises:
        UserError: If it has another form.

    Example:
        >>> repository("hf://someone/describer@v2")
        Repository(name='someone/describer', revision='v2')
    """
    match = _ADDRESS.fullmatch(address)
    if not match:
        raise UserError(f"{address} must have the form hf://owner/name or hf://owner/name@revision")
    return Repository(match[1], match[2])


def download(address: str) -> Path:
    """Downloads a model, unless it is there already, and returns its folder on the disk.

    Raises:
        UserError: If the client is not installed, or the repository cannot be reached.
    """
    name, revision = repository(address)
    client = _client()
    try:
        folder = client.snapshot_download(name, revision=revision, allow_patterns=list(_FILES))
    except Exception as error:  # of the client, and of whichever library it uses for HTTP
        raise UserError(f"cannot download {address}: {_line(error)}") from error
    return Path(folder)


def upload(folder: Path, address: str) -> None:
    """Uploads a model in one commit, in place of the files that the repository has.

    The hub shows `README.md`, so the card is uploaded under this name too.

    Args:
        folder: Folder on the disk.
        address: Repository, which is made if it does not exist.

    Raises:
        UserError: If the client is not installed, or the repository cannot be written.
    """
    name, revision = repository(address)
    client = _client()
    shutil.copyfile(folder / "card.md", folder / "README.md")
    try:
        client.create_repo(name, exist_ok=True)
        client.upload_folder(
            repo_id=name,
            folder_path=str(folder),
            revision=revision,
            delete_patterns=list(_FILES),
            commit_message="Publish a model of visem_tf",
        )
    except Exception as error:  # of the client, and of whichever library it uses for HTTP
        raise UserError(f"cannot upload to {address}: {_line(error)}") from error


def _client() -> Any:
    try:
        return importlib.import_module("huggingface_hub")
    except ImportError as error:
        raise UserError(
            "hf:// addresses need the package huggingface_hub; pip install 'visem_tf[hub]'"
        ) from error


def _line(error: Exception) -> str:
    """The message of an exception on one line."""
    text = " ".join(str(error).split())
    return text[:200] or type(error).__name__
