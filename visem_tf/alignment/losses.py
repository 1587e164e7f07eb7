"""Losses over the scores of a batch (paper, section 3.1.3), as functions without weights.

A batch has K matching pairs of an image and a sentence, and the scores S_kl of all images with all
sentences. Two sentences of the same image are not negatives of each other. Each loss is a sum over
the pairs. To add a loss, write a function, add an entry to `LOSSES`, and add its name to
`visem_tf.config.registry`.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple

import tensorflow as tf

COLLAPSED_SPREAD = 1e-3
"""A model whose `score_spread` is a smaller part of its margin or temperature has collapsed."""


class Loss(NamedTuple):
    """A loss of the alignment.

    Attributes:
        function: Function from scores [K, K], image ids [K] and a scale to the loss, a scalar.
        scale: Name of the setting that the scale is taken from.
    """

    function: Callable[[tf.Tensor, tf.Tensor, float], tf.Tensor]
    scale: Literal["margin", "temperature"]


def ranking_loss(scores: tf.Tensor, image_ids: tf.Tensor, margin: float = 1.0) -> tf.Tensor:
    """Computes the paper's objective, a hinge for every negative of every pair.

        C = Σ_k [ Σ_{l≠k} max(0, S_kl - S_kk + margin)     rank sentences for image k
                + Σ_{l≠k} max(0, S_lk - S_kk + margin) ]   rank images for sentence k

    Args:
        scores: Scores S_kl, float tensor [K, K]; image k and sentence k match.
        image_ids: Image of every pair, int tensor [K]. Pairs of one image are left out of the sums.
        margin: Amount by which the score of a true pair must exceed those of false pairs.

    Returns:
        C, a scalar.

    Example:
        >>> import tensorflow as tf
        >>> float(ranking_loss(tf.constant([[2.0, 1.5], [0.0, 1.0]]), tf.constant([7, 8])))
        2.0
    """
    sentences_for_image, images_for_sentence = _hinges(scores, margin)
    both = sentences_for_image + images_for_sentence
    return tf.reduce_sum(tf.where(_negatives(image_ids), both, 0))


def hardest_negative_loss(
    scores: tf.Tensor, image_ids: tf.Tensor, margin: float = 1.0
) -> tf.Tensor:
    """Computes a hinge for the hardest negative of every pair (VSE++, Faghri et al., 2018).

        C = Σ_k [ max_{l≠k} max(0, S_kl - S_kk + margin) + max_{l≠k} max(0, S_lk - S_kk + margin) ]

    An untrained model learns slowly or not at all with it; a few epochs of `ranking_loss` before it
    help (`align.hinge_warmup_epochs`). The arguments are those of `ranking_loss`.

    Example:
        >>> import tensorflow as tf
        >>> scores = tf.constant([[2.0, 1.5, 1.25], [0.0, 1.0, 0.0], [0.0, 0.0, 2.0]])
        >>> ids = tf.constant([7, 8, 9])
        >>> float(hardest_negative_loss(scores, ids))  # 0.5 in a row, 1.5 and 0.25 in columns
        2.25
    """
    negatives = _negatives(image_ids)
    sentences_for_image, images_for_sentence = (
        tf.where(negatives, hinge, 0) for hinge in _hinges(scores, margin)
    )
    return tf.reduce_sum(tf.reduce_max(sentences_for_image, axis=1)) + tf.reduce_sum(
        tf.reduce_max(images_for_sentence, axis=0)
    )


def contrastive_loss(
    scores: tf.Tensor, image_ids: tf.Tensor, temperature: float = 0.1
) -> tf.Tensor:
    """Computes the cross-entropy in both directions (InfoNCE, van den Oord et al., 2018).

        C = Σ_k [ -log softmax_l(S_kl / τ)_k - log softmax_l(S_lk / τ)_k ]     τ: the temperature

    Args:
        scores: Scores S_kl, float tensor [K, K]; image k and sentence k match.
        image_ids: Image of every pair, int tensor [K]. Other pairs of the same image are left out
            of the softmax.
        temperature: Divisor of the scores.

    Example:
        >>> import tensorflow as tf
        >>> round(float(contrastive_loss(tf.zeros([2, 2]), tf.constant([7, 8]))), 4)  # 4 log 2
        2.7726
    """
    pairs = tf.logical_or(_negatives(image_ids), tf.eye(tf.shape(scores)[0], dtype=tf.bool))
    logits = tf.where(pairs, scores / temperature, tf.constant(float("-inf"), scores.dtype))
    true = tf.linalg.diag_part(logits)
    total = tf.reduce_logsumexp(logits, axis=0) + tf.reduce_logsumexp(logits, axis=1)
    return tf.reduce_sum(total - 2 * true)


def swapped_noun_loss(scores: tf.Tensor, real: tf.Tensor, temperature: float = 0.1) -> tf.Tensor:
    """Computes the cross-entropy of true sentences against false ones with one noun replaced.

        C = Σ_k -log softmax_n(S_kn / τ)_0       S_k0: the true sentence, S_kn: the false ones

    It is the loss that Gupta et al. (ECCV 2020) add, for the scores of whole sentences.

    Args:
        scores: Scores of every image with its true sentence and N false ones, float [K, 1 + N].
        real: Boolean tensor [K, 1 + N], False for false sentences that are left out.
        temperature: Divisor τ of the scores.

    Example:
        >>> import tensorflow as tf
        >>> scores = tf.constant([[1.0, 1.0, 9.0]])
        >>> loss = swapped_noun_loss(scores, tf.constant([[True, True, False]]))
        >>> round(float(loss), 4)  # log 2
        0.6931
    """
    true = scores[:, :1] / temperature
    false = tf.where(real[:, 1:], scores[:, 1:] / temperature, float("-inf"))
    logits = tf.concat([true, false], axis=1)
    return tf.reduce_sum(tf.reduce_logsumexp(logits, axis=1) - true[:, 0])


LOSSES = {
    "hinge_max": Loss(hardest_negative_loss, "margin"),
    "hinge_sum": Loss(ranking_loss, "margin"),
    "infonce": Loss(contrastive_loss, "temperature"),
}
"""Losses by their names in the configuration."""


def get_loss(name: str) -> Loss:
    """Returns the loss with a name.

    Raises:
        ValueError: If there is no such loss.
    """
    if name not in LOSSES:
        raise ValueError(f"loss must be one of {', '.join(LOSSES)}, not {name!r}")
    return LOSSES[name]


def score_spread(scores: tf.Tensor, image_ids: tf.Tensor) -> tf.Tensor:
    """Computes the mean distance of false scores from true ones, which is 0 in a collapsed model.

    Args:
        scores: Scores S_kl, float tensor [K, K].
        image_ids: Image of every pair, int tensor [K].

    Returns:
        Mean of |S_kl - S_kk| and |S_lk - S_kk| over the negatives, a scalar; 0 without negatives.

    Example:
        >>> import tensorflow as tf
        >>> float(score_spread(tf.constant([[2.0, 1.5], [0.0, 1.0]]), tf.constant([7, 8])))
        1.0
    """
    negatives = _negatives(image_ids)
    true = tf.linalg.diag_part(scores)
    distances = tf.abs(scores - true[:, tf.newaxis]) + tf.abs(scores - true[tf.newaxis])
    total = tf.reduce_sum(tf.where(negatives, distances, 0))
    return tf.math.divide_no_nan(total, 2 * tf.math.count_nonzero(negatives, dtype=scores.dtype))


def _negatives(image_ids: tf.Tensor) -> tf.Tensor:
    """A mask [K, K] that is True for pairs of different images."""
    image_ids = tf.convert_to_tensor(image_ids)
    return image_ids[:, tf.newaxis] != image_ids[tf.newaxis]


def _hinges(scores: tf.Tensor, margin: float) -> tuple[tf.Tensor, tf.Tensor]:
    """Hinges [K, K] of the sentences for every image (rows) and the images for every sentence."""
    true = tf.linalg.diag_part(scores)
    sentences_for_image = tf.nn.relu(scores - true[:, tf.newaxis] + margin)
    images_for_sentence = tf.nn.relu(scores - true[tf.newaxis] + margin)
    return sentences_for_image, images_for_sentence
