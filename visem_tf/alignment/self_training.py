"""Self-training: words learn from the regions that their phrases already choose.

The objective of section 3.1.3 only compares whole sentences with whole images. Its words may choose
a part of the thing that they name, or all of its surroundings, as long as the pair scores high. The
loss of this module asks more of the phrases of a true pair. As in the refinement of Tang et al.
(CVPR 2017), the model is its own teacher:

- A phrase n is a run of words that name something, with the mean of their vectors scaled to length
  1, p_n. Function words end phrases.
- The teacher is the model without dropout. It chooses the region j of every phrase with the
  read-out `phrase` of `visem_tf.alignment.phrases`, which also knows the boxes and the proposer's
  scores. Targets are all regions that overlap j with an IoU of at least 0.5.
- The student is the same model with dropout, and sees similarities only:

      L_n = -c_n log Σ_{i in targets} softmax_i(λ p_n · v_i)

  The confidence c_n is the probability that the teacher gives to the targets.

No box that people marked is used.
"""

from typing import NamedTuple

import tensorflow as tf

from visem_tf.alignment.phrases import (
    Readout,
    overlaps_with_others,
    region_probabilities,
    same_phrase,
)

_MIN_IOU = 0.5  # of a target with the region that the teacher has chosen
_TINY = 1e-9


class PhraseTargets(NamedTuple):
    """Targets of the phrases that end at the words of S sentences, as the teacher finds them.

    Attributes:
        regions: Boolean tensor [S, T, R], True for the regions that are targets.
        confidence: Probability c that the teacher gives to the targets, float tensor [S, T].
    """

    regions: tf.Tensor
    confidence: tf.Tensor


def phrase_ends(content: tf.Tensor) -> tf.Tensor:
    """Finds the last words of phrases, which are the runs of content words.

    Args:
        content: Boolean tensor [S, T], True for words that name something.

    Example:
        >>> import tensorflow as tf
        >>> phrase_ends(tf.constant([[False, True, True, False, True]])).numpy()
        array([[False, False,  True, False,  True]])
    """
    return content & ~tf.pad(content[:, 1:], [[0, 0], [0, 1]])


def find_targets(
    similarities: tf.Tensor,
    boxes: tf.Tensor,
    region_scores: tf.Tensor,
    region_mask: tf.Tensor,
    content: tf.Tensor,
    readout: Readout,
) -> PhraseTargets:
    """Chooses a region for every phrase, and the regions near it.

    Args:
        similarities: p · v_i of the teacher, float tensor [S, T, R].
        boxes: Boxes of the regions of the image of every sentence, float tensor [S, R, 4],
            `rel_yxyx`.
        region_scores: The proposer's scores, float tensor [S, R].
        region_mask: Boolean tensor [S, R], True for real regions, at least one per image.
        content: Boolean tensor [S, T], True for words that name something.
        readout: Options of the read-out `phrase`.

    Returns:
        The targets; those of padded words have no meaning.
    """
    import keras_cv

    real, scores = region_mask[:, tf.newaxis], region_scores[:, tf.newaxis]
    iou = keras_cv.bounding_box.compute_iou(boxes, boxes, "yxyx")  # [S, R, R]
    probabilities = region_probabilities(similarities, scores, real, readout)
    if readout.overlap_penalty:
        own, alone = same_phrase(content), tf.matmul(probabilities, iou)
        overlaps = overlaps_with_others(alone, content, own)
        probabilities = region_probabilities(similarities, scores, real, readout, overlaps)
    expected = tf.where(real, tf.matmul(probabilities, iou), -1.0)
    near = tf.gather(iou, tf.argmax(expected, axis=2), axis=1, batch_dims=1)
    targets = real & (near >= _MIN_IOU)
    confidence = tf.reduce_sum(tf.where(targets, probabilities, 0.0), axis=2)
    return PhraseTargets(targets, confidence)


def self_training_loss(
    similarities: tf.Tensor,
    targets: PhraseTargets,
    ends: tf.Tensor,
    region_mask: tf.Tensor,
    scale: float,
) -> tf.Tensor:
    """Computes the sum over sentences of the mean of L_n over their phrases.

    Args:
        similarities: p · v_i of the student, float tensor [S, T, R].
        targets: Targets of the phrases, from `find_targets`.
        ends: Boolean tensor [S, T], the last words of phrases.
        region_mask: Boolean tensor [S, R], True for real regions, at least one per image.
        scale: Factor λ of the similarities before the softmax.

    Returns:
        Float scalar.
    """
    logits = tf.where(region_mask[:, tf.newaxis], scale * similarities, -1e9)
    probabilities = tf.reduce_sum(tf.where(targets.regions, tf.nn.softmax(logits), 0.0), axis=2)
    losses = tf.where(ends, -targets.confidence * tf.math.log(probabilities + _TINY), 0.0)
    count = tf.math.count_nonzero(ends, axis=1, dtype=losses.dtype)
    return tf.reduce_sum(tf.reduce_sum(losses, axis=1) / tf.maximum(count, 1.0))
