"""Losses over the scores of a batch, a module each; its name is the name in the configuration.

A batch has K pairs of an image and a sentence that belong together, and the scores S_kl of all
images with all sentences. A new loss is one new module with a `loss` of the type below.
"""

import importlib
from typing import Protocol

import tensorflow as tf

from visem_tf.config.registry import LOSSES


class Loss(Protocol):
    """The sum of a loss over the pairs of a batch."""

    def __call__(
        self, scores: tf.Tensor, image_ids: tf.Tensor, *, margin: float, temperature: float
    ) -> tf.Tensor:
        """See the modules.

        Args:
          scores: S_kl, float [K, K]; image k and sentence k belong together.
          image_ids: int [K], the image of every pair; pairs of one image are no negatives of each
            other.
          margin: by how much a true score must exceed a false one; hinges only.
          temperature: what scores are divided by; infonce only.

        Returns:
          A scalar.
        """


def get_loss(name: str) -> Loss:
    """The loss of a name.

    Raises:
      ValueError: there is no such loss.
    """
    if name not in LOSSES:
        raise ValueError(f"loss must be one of {', '.join(LOSSES)}, not {name!r}")
    loss: Loss = importlib.import_module(f"{__name__}.{name}").loss
    return loss


def negatives(image_ids: tf.Tensor) -> tf.Tensor:
    """A mask [K, K]: True where two pairs are of different images."""
    image_ids = tf.convert_to_tensor(image_ids)
    return image_ids[:, tf.newaxis] != image_ids[tf.newaxis]


def hinges(scores: tf.Tensor, margin: float) -> tuple[tf.Tensor, tf.Tensor]:
    """max(0, S_kl - S_kk + margin) of sentences l for image k, and of images k for sentence l.

    Args:
      scores: S_kl, float [K, K].
      margin: by how much a true score must exceed a false one.

    Returns:
      Both float [K, K]; the first compares within rows, the second within columns.
    """
    true = tf.linalg.diag_part(scores)
    sentences_for_image = tf.nn.relu(scores - true[:, tf.newaxis] + margin)
    images_for_sentence = tf.nn.relu(scores - true[tf.newaxis] + margin)
    return sentences_for_image, images_for_sentence
