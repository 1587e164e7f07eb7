"""Ensemble of captioning models that write one sentence together."""

import math
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from visem_tf.decoding.common import CaptioningModel, split_state
from visem_tf.models.generator import ImageState


class EnsembleModel:
    """Model whose word probabilities are the means of those of its members, at every step.

    The members may differ in everything but the vocabulary and the region features.

    Args:
        members: Generators, or other captioning models.

    Raises:
        ValueError: If `members` is empty.

    Example:
        >>> from visem_tf.decoding import greedy_search
        >>> from visem_tf.models.caption_generator import CaptionGenerator
        >>> ensemble = EnsembleModel([CaptionGenerator(10, 8, 6), CaptionGenerator(10, 4, 6)])
        >>> tuple(greedy_search(ensemble, tf.zeros([2, 5]), max_length=7)[0].shape)
        (2, 7)
    """

    def __init__(self, members: Sequence[CaptioningModel]) -> None:
        if not members:
            raise ValueError("members must hold at least one model, got none")
        self.members = list(members)
        # Members that read one vector also accept regions, so a reader of regions goes first.
        self._reader = max(self.members, key=lambda member: member.reads_regions)
        self.reads_regions = self._reader.reads_regions

    def inputs_of_images(self, region_features: Any, region_mask: Any) -> Any:
        """Returns the regions of images if a member reads them, else the whole frames."""
        return self._reader.inputs_of_images(region_features, region_mask)

    def input_specs(self) -> Any:
        """Returns the `tf.TensorSpec`s of what `inputs_of_images` returns."""
        return self._reader.input_specs()

    def initial_state(self, image_features: Any) -> ImageState:
        """Returns the initial states of all members."""
        return _joined([member.initial_state(image_features) for member in self.members])

    def step(self, token_ids: tf.Tensor, state: ImageState) -> tuple[tf.Tensor, ImageState]:
        """Returns the log of the mean probability of every word, [B, V], and the next state."""
        log_probs, states = [], []
        for member, rows, images in zip(self.members, *state, strict=True):
            member_state = rows if images is None else ImageState(rows, images)
            member_log_probs, next_state = member.step(token_ids, member_state)
            log_probs.append(tf.cast(member_log_probs, tf.float32))
            states.append(next_state)
        mean = tf.reduce_logsumexp(tf.stack(log_probs), axis=0) - math.log(len(log_probs))
        return mean, _joined(states)


def _joined(states: Sequence[Any]) -> ImageState:
    """Joins the states of the members; `images` is None for members without such a part."""
    return ImageState(
        tuple(split_state(state)[0] for state in states),
        tuple(s.images if isinstance(s, ImageState) else None for s in states),
    )
