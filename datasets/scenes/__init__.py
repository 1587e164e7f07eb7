"""`scenes`: the data set that needs no download, pictures rendered from a seed.

See README.md. `Builder` is imported when it is first used, so that drawing a scene does not import
TensorFlow.
"""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["Builder"]


def __getattr__(name: str) -> Any:
    if name == "Builder":
        module = importlib.import_module(f"{__name__}.scenes_dataset_builder")
        return module.Builder
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
