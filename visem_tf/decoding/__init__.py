"""From a model that gives the next word to whole sentences: greedy and beam search.

Both are one batched loop in graph, and generic: whatever has `initial_state` and `step` (see
`visem_tf.decoding.state.StepwiseModel`) can be decoded.
"""

from visem_tf.decoding.beam import beam_search
from visem_tf.decoding.ensemble import EnsembleModel
from visem_tf.decoding.greedy import greedy_search
from visem_tf.decoding.state import PictureModel, StepwiseModel

__all__ = ["EnsembleModel", "PictureModel", "StepwiseModel", "beam_search", "greedy_search"]
