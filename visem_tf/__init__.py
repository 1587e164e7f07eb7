"""Deep visual-semantic alignments for generating image descriptions, in TensorFlow and Keras 3.

Importing this package is fast: TensorFlow is imported when one of the names below is first used.
Once Keras is imported too, before or after this package, its classes are registered, so that
`keras.models.load_model` reads the `.keras` files of a run.

Example:
    >>> import visem_tf
    >>> visem_tf.__version__
    '0.2.0'
"""

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

import wrapt

from visem_tf.runtime import checkout as _checkout
from visem_tf.runtime.version import __version__ as __version__

if TYPE_CHECKING:
    from visem_tf.alignment.losses import ranking_loss as ranking_loss
    from visem_tf.alignment.mrf import smooth_alignment as smooth_alignment
    from visem_tf.alignment.scores import alignment_scores as alignment_scores
    from visem_tf.decoding import beam_search as beam_search
    from visem_tf.decoding import greedy_search as greedy_search
    from visem_tf.loading import load as load
    from visem_tf.models.alignment_model import AlignmentModel as AlignmentModel
    from visem_tf.models.caption_generator import CaptionGenerator as CaptionGenerator
    from visem_tf.models.region_encoder import RegionEncoder as RegionEncoder
    from visem_tf.models.sentence_encoder import SentenceEncoder as SentenceEncoder

_MODULES = {
    "AlignmentModel": "models.alignment_model",
    "CaptionGenerator": "models.caption_generator",
    "RegionEncoder": "models.region_encoder",
    "SentenceEncoder": "models.sentence_encoder",
    "alignment_scores": "alignment.scores",
    "beam_search": "decoding",
    "greedy_search": "decoding",
    "load": "loading",
    "ranking_loss": "alignment.losses",
    "smooth_alignment": "alignment.mrf",
}

_REGISTERING = (
    "models.alignment_model",
    "models.attention_generator",
    "models.caption_generator",
    "training.optimizers",
)
"""Modules that, with those they import, register all classes that are in files."""

__all__ = list(_MODULES)

_checkout.install()


def _register_classes() -> None:
    """Registers all classes with Keras, if it is imported and runs on TensorFlow."""
    if not {"keras", "tensorflow"} <= _imported:
        return
    if sys.modules["keras"].config.backend() == "tensorflow" and not _is_importing():
        for name in _REGISTERING:
            importlib.import_module(f"{__name__}.{name}")


def _is_importing() -> bool:
    """Whether a module of this package is being imported; classes may need what it defines."""
    modules = [module for name, module in [*sys.modules.items()] if name.startswith(f"{__name__}.")]
    specs = [getattr(module, "__spec__", None) for module in modules]
    return any(getattr(spec, "_initializing", False) for spec in specs)


def _after_import(module: ModuleType) -> None:
    _imported.add(module.__name__)
    _register_classes()


def __getattr__(name: str) -> Any:
    """Imports the module of a public name when the name is first used (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    _register_classes()
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})


_imported: set[str] = set()
for _name in ("keras", "tensorflow"):
    wrapt.register_post_import_hook(_after_import, _name)  # calls it now if it is imported already
