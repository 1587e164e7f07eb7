"""Datasets, each a folder of TensorFlow Datasets, and the code that reads all of them alike.

A dataset is a folder `<name>/` here with a module `<name>_dataset_builder.py` that contains the
class `Builder`. To add one, add its folder, and name the folder in `pyproject.toml` so that it is
installed. `visem_tf.datasets.loading.load_dataset` prepares a dataset once and reads it from then
on.

This package is `visem_tf.datasets`, although a check-out of the repository keeps it in `datasets/`.
Imported under a second name it would register every builder with TensorFlow Datasets twice.
"""

import importlib
from pathlib import Path
from typing import Any

from visem_tf.config.settings import nearest
from visem_tf.errors import UserError
from visem_tf.runtime import checkout as _checkout

if __name__ != "visem_tf.datasets":
    _checkout.defer_to_library(__name__)


PRECOMPUTED = "precomputed"
"""The dataset of features that were computed elsewhere: it has no images and no builder."""


def available() -> dict[str, str]:
    """Returns the import path of the builder's module of each dataset, by name.

    Example:
        >>> available()["flickr8k"]
        'visem_tf.datasets.flickr8k.flickr8k_dataset_builder'
    """
    modules = sorted(Path(__file__).parent.glob("*/*_dataset_builder.py"))
    return {path.parent.name: f"{__name__}.{path.parent.name}.{path.stem}" for path in modules}


def builder_class(name: str) -> Any:
    """Imports the class `Builder` of a dataset.

    Args:
        name: Name of the dataset.

    Raises:
        UserError: If there is no such dataset.
    """
    modules = available()
    if name not in modules:
        names = sorted([*modules, PRECOMPUTED])
        raise UserError(
            f"the dataset must be one of {', '.join(names)}, not {name!r}"
            f"{nearest(name.lower(), names)}"
        )
    return importlib.import_module(modules[name]).Builder
