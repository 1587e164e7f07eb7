"""Data sets, each a folder of TensorFlow Datasets, and the code that reads them all alike.

A data set is a folder `<name>/` here with a module `<name>_dataset_builder.py`, which holds the
class `Builder`; adding the folder is all it takes, and naming it in `pyproject.toml` to install it.
`visem_tf.datasets.loading.load_dataset` prepares a data set once and reads it from then on.

This package is `visem_tf.datasets`, although a check-out of the repository keeps it in `datasets/`.
Imported under a second name it would register every builder with TensorFlow Datasets twice.
"""

from __future__ import annotations

import difflib
from pathlib import Path

from visem_tf.errors import UserError
from visem_tf.runtime import checkout as _checkout

if __name__ != "visem_tf.datasets":
    _checkout.defer_to_library(__name__)


PRECOMPUTED = "precomputed"
"""The data set of features that were computed elsewhere: it has no pictures and no builder."""


def available() -> dict[str, str]:
    """Returns the data sets that exist, by name, with the import path of each builder's module.

    Example:
        >>> available()["flickr8k"]
        'visem_tf.datasets.flickr8k.flickr8k_dataset_builder'
    """
    folders = sorted(path for path in Path(__file__).parent.iterdir() if path.is_dir())
    return {
        folder.name: f"{__name__}.{folder.name}.{folder.name}_dataset_builder"
        for folder in folders
        if (folder / f"{folder.name}_dataset_builder.py").is_file()
    }


def nearest(word: str, choices: list[str]) -> str:
    """Returns "; did you mean …?" and the choices, to end a message about an unknown word.

    Example:
        >>> nearest("flicker8k", ["flickr8k", "scenes"])
        'did you mean flickr8k? There are: flickr8k, scenes'
    """
    close = difflib.get_close_matches(word.lower(), choices, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    return f"{hint}There are: {', '.join(choices)}"


def builder_module(name: str) -> str:
    """Returns the import path of the module that holds a data set's `Builder`.

    Args:
        name: the data set.

    Raises:
        UserError: there is no such data set; names the nearest one.
    """
    modules = available()
    if name not in modules:
        choices = sorted([*modules, PRECOMPUTED])
        raise UserError(f"no data set is called {name!r}; {nearest(name, choices)}")
    return modules[name]
