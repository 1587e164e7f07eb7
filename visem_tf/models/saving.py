"""Models in `.keras` files that record the versions of the packages that wrote them.

A `.keras` file is a ZIP archive. In addition to the parts that Keras writes, it contains
`visem_tf.json` with the version of the format and of the packages. Files of early versions without
this part can be read too. An option that a file does not name has its default, which is the
behaviour before the option existed.
"""

import contextlib
import errno
import importlib.metadata
import json
import os
import re
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypedDict, TypeVar

import keras

from visem_tf.errors import UserError
from visem_tf.models.precision import use_full_precision
from visem_tf.models.weight_files import read_weights
from visem_tf.runtime.files import atomic_path
from visem_tf.runtime.json_files import parse_json
from visem_tf.runtime.version import __version__

FORMAT = 1
"""Version of the format, increased when former versions can no longer read the files."""

_PART = "visem_tf.json"
Model = TypeVar("Model", bound=keras.Model)


class _About(TypedDict, total=False):
    """Content of the additional part."""

    format: int
    versions: dict[str, Any]


@contextlib.contextmanager
def _without_optimizer(model: keras.Model) -> Iterator[None]:
    """Lets Keras save a model as if it were not compiled, without the state of its optimizer."""
    if not model.compiled:
        yield
        return
    optimizer = model.optimizer
    model.optimizer, model.compiled = None, False
    try:
        yield
    finally:
        model.optimizer, model.compiled = optimizer, True


def save_model(model: keras.Model, path: str | os.PathLike[str]) -> None:
    """Saves a model atomically, with the versions of the packages and without its optimizer.

    Args:
        model: Built model of this package.
        path: File name that ends in `.keras`.
    """
    with atomic_path(path) as temporary:
        with _without_optimizer(model):
            model.save(temporary)
        versions = {name: importlib.metadata.version(name) for name in ("keras", "tensorflow")}
        about = {"format": FORMAT, "versions": {"visem_tf": __version__, **versions}}
        with zipfile.ZipFile(temporary, "a") as archive:
            archive.writestr(_PART, json.dumps(about))


def load_model(path: str | os.PathLike[str], kind: type[Model]) -> Model:
    """Loads a model without its optimizer. It computes in float32.

    Args:
        path: File that `save_model` or `visem_tf.models.weight_files.write_weights` wrote.
        kind: Expected class of the model, or a base class of it.

    Raises:
        UserError: If the file is missing, is not such a file, is damaged, contains another kind
            of model, or was written by another version with options that this version lacks.
        OSError: If the disk of temporary files is full.
    """
    path = Path(path)
    model = read_weights(path) if path.suffix == ".npz" else _load_keras_file(path)
    if not isinstance(model, kind):
        raise UserError(f"{path} contains a {type(model).__name__}, not a {kind.__name__}")
    use_full_precision(model)
    return model


def _load_keras_file(path: Path) -> keras.Model:
    """Loads the model of a `.keras` file."""
    about = read_versions(path)
    writer = about.get("versions", {}).get("visem_tf", "an early version")
    if about.get("format", 0) > FORMAT:
        raise UserError(
            f"{path} was written by visem_tf {writer} in a newer format ({about['format']}, this "
            f"version reads {FORMAT}); install that version, or train again"
        )
    try:
        with warnings.catch_warnings():
            # Keras only warns if it cannot build a model, and then leaves its weights out.
            warnings.filterwarnings("error", "(?s).*cannot be built automatically")
            return keras.saving.load_model(path, compile=False)
    except Exception as error:  # damage raises nearly any exception
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            error.filename = error.filename or tempfile.gettempdir()  # where Keras unpacks files
            raise
        raise UserError(
            f"{path}, written by visem_tf {writer}, cannot be loaded by {__version__}: "
            f"{_reason(error)}; install that version, or train again"
        ) from error


def read_versions(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Reads "format" and "versions" of a file; they are missing in files of early versions.

    Raises:
        UserError: If the file is not a `.keras` file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
            about = parse_json(archive.read(_PART), _About) if _PART in names else {}
    except (OSError, ValueError, RuntimeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UserError(f"{os.fspath(path)} is not a readable .keras file ({reason})") from error
    if "config.json" not in names:
        raise UserError(f"{os.fspath(path)} is not a .keras file (it contains no config.json)")
    return about


def _reason(error: Exception) -> str:
    """A line that summarises an error of Keras."""
    text = str(error)
    if isinstance(error, Warning):
        return "it cannot be built as its configuration says"
    if match := re.search(r"keyword arguments? (?:passed to \w+: \{)?'(\w+)'", text):
        return f"its option {match[1]} is unknown to this version"
    if match := re.search(r"Could not locate class '(\w+)'", text):
        return f"its class {match[1]} is unknown to this version"
    if "objects could not be loaded" in text or "shape" in text:
        return "its weights do not fit its configuration"
    return " ".join(text.split())[:200] or type(error).__name__
