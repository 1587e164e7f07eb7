"""Several models that write one sentence together."""

import math
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from visem_tf.decoding.state import PictureModel, split_state
from visem_tf.models.picture_state import PictureState


class EnsembleModel:
    """Gives the mean of the probabilities that its members give to a word, at every step.

    The members may differ in everything but the vocabulary and the features of a picture.

    Args:
      members: generators, or other models of this kind.

    Raises:
      ValueError: there is no member.

    Example:
        >>> from visem_tf.decoding import greedy_search
        >>> from visem_tf.models.caption_generator import CaptionGenerator
        >>> ensemble = EnsembleModel([CaptionGenerator(10, 8, 6), CaptionGenerator(10, 4, 6)])
        >>> tuple(greedy_search(ensemble, tf.zeros([2, 5]), max_length=7)[0].shape)
        (2, 7)
    """

    def __init__(self, members: Sequence[PictureModel]) -> None:
        if not members:
            raise ValueError("members must hold at least one model, got none")
        self.members = list(members)
        regions_first = sorted(self.members, key=lambda member: not member.reads_regions)
        self._reader = regions_first[0]  # what it takes, all members take
        self.reads_regions = self._reader.reads_regions

    def inputs_of_pictures(self, region_features: Any, region_mask: Any) -> Any:
        """The regions of pictures if a member reads them, the whole frames otherwise."""
        return self._reader.inputs_of_pictures(region_features, region_mask)

    def input_specs(self) -> Any:
        """The types of what `inputs_of_pictures` gives."""
        return self._reader.input_specs()

    def initial_state(self, image_features: Any) -> PictureState:
        """The states of all members."""
        return _joined([member.initial_state(image_features) for member in self.members])

    def step(self, token_ids: tf.Tensor, state: PictureState) -> tuple[tf.Tensor, PictureState]:
        """The log of the mean probability of every word, float [B, V], and the next states."""
        log_probs, states = [], []
        for member, rows, pictures in zip(self.members, *state, strict=True):
            whole = rows if pictures is None else PictureState(rows, pictures)
            of_member, after = member.step(token_ids, whole)
            log_probs.append(tf.cast(of_member, tf.float32))
            states.append(after)
        mean = tf.reduce_logsumexp(tf.stack(log_probs), axis=0) - math.log(len(log_probs))
        return mean, _joined(states)


def _joined(states: Sequence[Any]) -> PictureState:
    """One state of many; a member without a part of its own for pictures has None there."""
    return PictureState(
        tuple(split_state(state)[0] for state in states),
        tuple(s.pictures if isinstance(s, PictureState) else None for s in states),
    )
