"""Models in `.keras` files that say what wrote them, and are loaded or refused with the reason.

A `.keras` file is a ZIP archive: Keras' own parts, and beside them `visem_tf.json` with the version
of the format and of the packages. Files without it, from before there was one, are read too. An
option that a file does not name has its default, which is what it did before it was an option.
"""

import importlib.metadata
import json
import os
import re
import zipfile
from pathlib import Path
from typing import Any, TypeVar

import keras

import visem_tf
from visem_tf.errors import UserError
from visem_tf.models.precision import use_full_precision
from visem_tf.runtime.files import atomic_path

FORMAT = 1
"""Raised when files can no longer be read by the code before."""

_PART = "visem_tf.json"
Model = TypeVar("Model", bound=keras.Model)


def save_model(model: keras.Model, path: str | os.PathLike[str]) -> None:
    """Writes a model whole or not at all, with the versions of what wrote it.

    Args:
      model: A built model of this package.
      path: A name that ends in `.keras`.
    """
    with atomic_path(path) as temporary:
        model.save(temporary)
        versions = {name: importlib.metadata.version(name) for name in ("keras", "tensorflow")}
        about = {"format": FORMAT, "versions": {"visem_tf": visem_tf.__version__, **versions}}
        with zipfile.ZipFile(temporary, "a") as archive:
            archive.writestr(_PART, json.dumps(about))


def load_model(path: str | os.PathLike[str], kind: type[Model]) -> Model:
    """Reads a model that `save_model` wrote, without its optimizer; it computes in float32.

    Args:
      path: The file.
      kind: What it must hold; a subclass is fine.

    Raises:
      UserError: It is no such file, is damaged, holds another kind of model, or was written by
        another version with options that this one does not know.
    """
    path = Path(path)
    about = read_versions(path)
    writer = about.get("versions", {}).get("visem_tf", "an early version")
    if about.get("format", 0) > FORMAT:
        raise UserError(
            f"{path} was written by visem_tf {writer} in a newer format ({about['format']}, this "
            f"is {FORMAT}); install that version, or train again"
        )
    try:
        model = keras.saving.load_model(path, compile=False)
    except (TypeError, ValueError, KeyError, OSError, zipfile.BadZipFile) as error:
        raise UserError(
            f"{path}, written by visem_tf {writer}, cannot be loaded by {visem_tf.__version__}: "
            f"{_reason(error)}; install that version, or train again"
        ) from error
    if not isinstance(model, kind):
        raise UserError(f"{path} holds a {type(model).__name__}, not a {kind.__name__}")
    use_full_precision(model)
    return model


def read_versions(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What a file says of itself: "format" and "versions"; nothing if it is an early one.

    Raises:
      UserError: It is no `.keras` file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
            about = json.loads(archive.read(_PART)) if _PART in names else {}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"{os.fspath(path)} is no readable .keras file ({reason})") from error
    if "config.json" not in names:
        raise UserError(f"{os.fspath(path)} is no .keras file (it holds no config.json)")
    return about


def _reason(error: Exception) -> str:
    """In a line, what Keras says in many."""
    text = str(error)
    if match := re.search(r"keyword arguments? (?:passed to \w+: \{)?'(\w+)'", text):
        return f"it has an option {match[1]} that is unknown here"
    if match := re.search(r"Could not locate class '(\w+)'", text):
        return f"it holds a {match[1]}, which is unknown here"
    if "objects could not be loaded" in text or "shape" in text:
        return "its weights do not fit its configuration"
    return " ".join(text.split())[:200] or type(error).__name__
