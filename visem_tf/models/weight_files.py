"""Models in `.npz` files of rounded 16 bits, for publishing; reading one cannot run code.

A file contains the weights of a model in order, and an entry "model": JSON with the version
of the format and with what Keras writes into the `config.json` of a `.keras` file. That
configuration may name any class of any package, so it is read only if all classes in it belong to
this package.
"""

import io
import json
import os
from pathlib import Path
from typing import Any, TypedDict

import keras
import numpy as np

from visem_tf.errors import UserError
from visem_tf.runtime.arrays import read_arrays
from visem_tf.runtime.files import write_atomically
from visem_tf.runtime.json_files import parse_json

FORMAT = 1
"""Version of the format, increased when former versions can no longer read the files."""

_LARGEST = 65_000  # number that float16 can express, also after rounding
_UNUSED_BITS = 4  # of the ten of the significand of float16; zeros make files smaller
_MODEL = "model"
_UNUSED = ("compile_config",)  # of the training


class _About(TypedDict):
    """The entry "model"."""

    format: int
    keras: dict[str, Any]


def write_weights(model: keras.Model, path: str | os.PathLike[str]) -> None:
    """Writes the configuration and the weights of a model, whole or not at all.

    Args:
        model: Built model of this package.
        path: File name that ends in `.npz`.
    """
    about = keras.saving.serialize_keras_object(model)
    about = {name: value for name, value in about.items() if name not in _UNUSED}
    arrays = {name: np.asarray(variable) for name, variable in _named(model).items()}
    write_arrays(path, arrays, **{_MODEL: json.dumps({"format": FORMAT, "keras": about})})


def write_arrays(path: str | os.PathLike[str], arrays: dict[str, np.ndarray], **texts: str) -> None:
    """Writes arrays in 16 bits, rounded to seven significant bits, whole or not at all.

    Args:
        path: File name that ends in `.npz`.
        arrays: Arrays by name. Numbers that exceed what 16 bits can express keep their precision.
        **texts: Further entries, which are texts.
    """
    content = io.BytesIO()
    np.savez_compressed(content, **texts, **{k: _in_16_bits(v) for k, v in arrays.items()})  # type: ignore[arg-type]
    write_atomically(path, content.getvalue())


def read_weights(path: str | os.PathLike[str]) -> keras.Model:
    """Reads a model that `write_weights` wrote.

    Raises:
        UserError: If the file is missing or damaged, has another format, or names a class that does
            not belong to this package.
    """
    path = Path(path)
    try:
        arrays = read_arrays(path)
        about: _About = parse_json(str(arrays.pop(_MODEL)), _About)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{path} is not a published model ({_line(error)})") from error
    if about["format"] != FORMAT:
        raise UserError(
            f"{path} was written by another version of visem_tf, in format {about['format']} (this "
            f"version reads {FORMAT}); install that version"
        )
    try:
        _check_classes(about["keras"])
        model = keras.saving.deserialize_keras_object(about["keras"])
        variables = _named(model)
        if variables.keys() != arrays.keys():
            raise ValueError("its weights do not fit its configuration")
        for name, variable in variables.items():
            if tuple(variable.shape) != arrays[name].shape:
                raise ValueError(f"the shape of {name} does not fit its configuration")
            variable.assign(arrays[name].astype(variable.dtype))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} cannot be loaded: {_line(error)}") from error
    return model


def _named(model: keras.Model) -> dict[str, Any]:
    """The variables of the weights by names, which tell their order."""
    return {f"{n:03d} {variable.name}": variable for n, variable in enumerate(model.weights)}


def _in_16_bits(array: np.ndarray) -> np.ndarray:
    """The array in float16, rounded, if it is of numbers that float16 can express."""
    if array.dtype.kind != "f" or not np.all(np.abs(array) < _LARGEST):
        return array
    bits = array.astype(np.float16).view(np.uint16)
    half = 1 << (_UNUSED_BITS - 1)  # a carry goes on into the exponent, as it should
    return ((bits + half) >> _UNUSED_BITS << _UNUSED_BITS).view(np.float16)


def _check_classes(config: Any) -> None:
    """Refuses configurations that name classes other than those of this package."""
    if isinstance(config, list):
        for each in config:
            _check_classes(each)
    elif isinstance(config, dict):
        if "class_name" in config:
            name = config.get("registered_name")
            is_own = str(name).startswith("visem_tf>") and (
                keras.saving.get_registered_object(name) is not None
            )
            is_dtype = (config.get("module"), config["class_name"]) == ("keras", "DTypePolicy")
            if not is_own and not is_dtype:
                raise ValueError(f"it names the class {config['class_name']!r}, which is unknown")
        for each in config.values():
            _check_classes(each)


def _line(error: Exception) -> str:
    """The message of an exception on one line."""
    return " ".join(str(error).split())[:200] or type(error).__name__
