"""The models of the paper as Keras classes, imported when they are first used."""

import importlib
from typing import Any

_MODULES = {
    "RegionEncoder": "region_encoder",
    "SentenceEncoder": "sentence_encoder",
    "AlignmentModel": "alignment_model",
    "CaptionGenerator": "caption_generator",
}

__all__ = ["AlignmentModel", "CaptionGenerator", "RegionEncoder", "SentenceEncoder"]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
