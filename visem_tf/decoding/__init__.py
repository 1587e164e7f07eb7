"""From a model that gives the next word to whole sentences: greedy search, beam search, sampling.

Each is one batched loop in graph that works with any `StepwiseModel`: whatever has `initial_state`
and `step`.
"""

from visem_tf.decoding.beam import beam_search
from visem_tf.decoding.common import CaptioningModel, StepwiseModel
from visem_tf.decoding.ensemble import EnsembleModel
from visem_tf.decoding.greedy import greedy_search
from visem_tf.decoding.reranking import RerankedModel

__all__ = [
    "CaptioningModel",
    "EnsembleModel",
    "RerankedModel",
    "StepwiseModel",
    "beam_search",
    "greedy_search",
]
