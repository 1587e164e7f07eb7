"""Deep visual-semantic alignments for generating image descriptions, in TensorFlow and Keras 3.

Importing this package is cheap: TensorFlow is imported when one of the names below is first used.

Example:
    >>> import visem_tf
    >>> visem_tf.__version__
    '0.2.0'
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from visem_tf.runtime import checkout as _checkout

if TYPE_CHECKING:
    from visem_tf.alignment.mrf import smooth_alignment
    from visem_tf.alignment.scores import alignment_scores, ranking_loss
    from visem_tf.decoding import beam_search, greedy_search
    from visem_tf.models.alignment_model import AlignmentModel
    from visem_tf.models.caption_generator import CaptionGenerator
    from visem_tf.models.region_encoder import RegionEncoder
    from visem_tf.models.sentence_encoder import SentenceEncoder

__version__ = "0.2.0"

__all__ = [
    "AlignmentModel",
    "CaptionGenerator",
    "RegionEncoder",
    "SentenceEncoder",
    "alignment_scores",
    "beam_search",
    "greedy_search",
    "ranking_loss",
    "smooth_alignment",
]

_HOME = {
    "AlignmentModel": "visem_tf.models.alignment_model",
    "CaptionGenerator": "visem_tf.models.caption_generator",
    "RegionEncoder": "visem_tf.models.region_encoder",
    "SentenceEncoder": "visem_tf.models.sentence_encoder",
    "alignment_scores": "visem_tf.alignment.scores",
    "beam_search": "visem_tf.decoding",
    "greedy_search": "visem_tf.decoding",
    "ranking_loss": "visem_tf.alignment.scores",
    "smooth_alignment": "visem_tf.alignment.mrf",
}

_checkout.install()


def __getattr__(name: str) -> Any:
    """Imports the module of a public name when the name is first used (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
