"""From a phrase to its box and its point, given the similarities of its words with the regions.

Section 3.1.4 gives every word a region. A phrase has several words, and its answer need not be the
region of one of them. `READOUTS` holds three ways by name:

- `word`: the region with the largest sum of v_i · s_t over the words t of the phrase.
- `mrf`: the region that most words of the phrase have in the chain MRF of the whole sentence.
- `phrase`: the words are averaged, m_i = mean_t v_i · s_t over the words t that name something.
  The box is the region j that is expected to overlap most,

      argmax_j Σ_i p_i IoU(i, j)     p = softmax_i(λ m_i + a log q_i - b [i is the frame] - c o_i)

  with the probability q_i that the proposer gives region i. Phrases of a sentence mostly name
  different things, so a region loses c times the overlap o_i that it is expected to have with
  another one: the largest Σ_j p_j IoU(i, j) of the other phrases of the sentence, whose p are those
  without c. A phrase that names several things has the box around two regions
  (`visem_tf.alignment.overlaps`). The point is the highest point of a heat map,

      flat      Σ_i w_i [point in box i] / √area_i         w = softmax_i(μ m_i)
      peaked    Σ_i w_i f_i [point in box i] / √area_i     w as p, with μ in the place of λ

  where f_i falls from 1 at the centre of box i: f_i = Π_yx (1 - 0.3 d²), with the distance d from
  the centre in halves of a side.

  With `unit_phrases`, m_i is divided by the length of mean_t s_t. Otherwise, the longer the vector
  of a phrase, the sharper its softmax.

The point of the other two is the centre of their box.
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from visem_tf.alignment.overlaps import boxes_around_two, expected_overlaps, masked_softmax

GRID = 32
"""Rows and columns of points that are searched for the highest one."""

_FALLOFF = 0.3
_TINY = 1e-6


class Readout(NamedTuple):
    """Method and options for the box and the point of a phrase.

    Attributes:
        name: Key of `READOUTS`.
        box_scale: λ, the factor of the mean similarity before the softmax that chooses the box.
        proposer_weight: a, the weight of the logarithm of the proposer's scores, which must be
            probabilities; 0 does not use them.
        frame_penalty: b, subtracted from the logit of the whole frame.
        overlap_penalty: c, the factor of the overlap with other phrases that is subtracted from the
            logit of a region.
        point_scale: μ, the factor of the mean similarity before the softmax of the heat map.
        heat_map: The heat map, "flat" or "peaked".
        unit_phrases: Whether the mean vector of the words is scaled to length 1.
        two_regions: Whether phrases that name several things get the box around two regions.
    """

    name: str = "phrase"
    box_scale: float = 1.0
    proposer_weight: float = 0.0
    frame_penalty: float = 0.0
    overlap_penalty: float = 0.0
    point_scale: float = 1.0
    heat_map: str = "flat"
    unit_phrases: bool = False
    two_regions: bool = False


class PhraseEvidence(NamedTuple):
    """Inputs for the grounding of N phrases, each in its own image.

    Attributes:
        similarities: v_i · s_t, float tensor [N, T, R]; minus infinity at padded regions.
        words: Boolean tensor [N, T], True for the words of the phrase.
        content: Boolean tensor [N, T], True for those that count in `phrase`; see `content_words`.
        word_regions: Regions of the words by the MRF, int32 tensor [N, T]; only `mrf` needs them.
        boxes: Boxes of the regions, float tensor [N, R, 4], `rel_yxyx`; region 0 is the frame.
        region_scores: The proposer's scores, float tensor [N, R]; the frame has the best of them.
        region_mask: Boolean tensor [N, R], True for real regions.
        lengths: Lengths of the means of s_t over the words `content`, float tensor [N]; only
            `unit_phrases` needs them.
        overlaps: Overlaps o of the regions with other phrases, float tensor [N, R], from
            `overlaps_with_others`; None if they are not used.
        several: Boolean tensor [N], True for phrases that name several things, whose boxes are
            around two regions in `phrase`; None if all have the box of one region.
    """

    similarities: tf.Tensor
    words: tf.Tensor
    content: tf.Tensor
    word_regions: tf.Tensor | None
    boxes: tf.Tensor
    region_scores: tf.Tensor
    region_mask: tf.Tensor
    lengths: tf.Tensor | None = None
    overlaps: tf.Tensor | None = None
    several: tf.Tensor | None = None


class PhraseGrounding(NamedTuple):
    """The places of N phrases, each in its own image.

    Attributes:
        boxes: Float tensor [N, 4], `rel_yxyx`; zeros for a phrase without words.
        points: Float tensor [N, 2], (y, x); zeros for a phrase without words.
        scores: Mean v_i · s_t of the words that count with the region i of the box, float tensor
            [N]; minus infinity for a phrase without words.
        regions: Region of the box, int32 tensor [N]; of two, the one that fits the phrase better;
            -1 for a phrase without words.
        ranking: Values by which the regions are ranked, float tensor [N, R]; minus infinity at
            padded regions, and for a phrase without words.
        several: Boolean tensor [N], True for phrases that name several things, whose boxes are
            around two regions. The boxes of the others are those of the region that ranks first.
    """

    boxes: tf.Tensor
    points: tf.Tensor
    scores: tf.Tensor
    regions: tf.Tensor
    ranking: tf.Tensor
    several: tf.Tensor


def content_words(words: tf.Tensor, is_function_word: tf.Tensor) -> tf.Tensor:
    """Selects the words that name something; all words of a phrase that has none of them.

    Args:
        words: Boolean tensor [N, T], True for the words of the phrase.
        is_function_word: Boolean tensor [N, T], True for "a", "of" and the like.

    Returns:
        Boolean tensor [N, T].

    Example:
        >>> import tensorflow as tf
        >>> words = tf.constant([[True, True, False], [True, True, False]])
        >>> content_words(words, tf.constant([[True, False, False], [True, True, False]])).numpy()
        array([[False,  True, False],
               [ True,  True, False]])
    """
    content = words & ~is_function_word
    return tf.where(tf.reduce_any(content, axis=1, keepdims=True), content, words)


def ground_phrases(evidence: PhraseEvidence, readout: Readout) -> PhraseGrounding:
    """Finds the box and the point of every phrase.

    Args:
        evidence: What is known about N phrases.
        readout: How they are found.

    Raises:
        ValueError: If the readout has an unknown name.

    Example:
        >>> import tensorflow as tf
        >>> found = ground_phrases(
        ...     PhraseEvidence(
        ...         tf.constant([[[0.0, 9.0]]]), tf.constant([[True]]), tf.constant([[True]]), None,
        ...         tf.constant([[[0.0, 0, 1, 1], [0.25, 0.25, 0.5, 0.5]]]), tf.zeros([1, 2]),
        ...         tf.constant([[True, True]])),
        ...     Readout())
        >>> found.boxes.numpy().tolist(), found.points.numpy().tolist()
        ([[0.25, 0.25, 0.5, 0.5]], [[0.375, 0.375]])
    """
    if readout.name not in READOUTS:
        raise ValueError(f"readout must be one of {', '.join(READOUTS)}, not {readout.name!r}")
    by_phrase = readout.name == "phrase"
    counted = evidence.content if by_phrase else evidence.words
    means = mean_over_words(evidence.similarities, counted)
    scaled = means
    if by_phrase and readout.unit_phrases:
        scaled /= tf.maximum(evidence.lengths, _TINY)[:, tf.newaxis]
    ranking = READOUTS[readout.name](evidence, scaled, readout)
    ranking = tf.where(evidence.region_mask, ranking, -float("inf"))
    regions = tf.argmax(ranking, axis=1, output_type=tf.int32)
    boxes = tf.gather(evidence.boxes, regions, axis=1, batch_dims=1)
    points = _points(evidence, scaled, readout) if by_phrase else (boxes[:, :2] + boxes[:, 2:]) / 2
    several = tf.zeros_like(regions, tf.bool)
    if by_phrase and evidence.several is not None:
        several = evidence.several
        logits = _region_logits(scaled, evidence.region_scores, readout, evidence.overlaps)
        around, better = boxes_around_two(logits, evidence.boxes, evidence.region_mask)
        boxes = tf.where(several[:, tf.newaxis], around, boxes)
        regions = tf.where(several, better, regions)
    known = tf.reduce_any(evidence.words, axis=1) & tf.reduce_any(evidence.region_mask, axis=1)
    scores = tf.gather(means, regions, axis=1, batch_dims=1)
    return PhraseGrounding(
        tf.where(known[:, tf.newaxis], boxes, 0.0),
        tf.where(known[:, tf.newaxis], points, 0.0),
        tf.where(known, scores, -float("inf")),
        tf.where(known, regions, -1),
        tf.where(known[:, tf.newaxis], ranking, -float("inf")),
        known & several,
    )


def mean_over_words(values: tf.Tensor, words: tf.Tensor) -> tf.Tensor:
    """Averages the values of some words, float [N, T, K] and bool [N, T] to float [N, K]."""
    chosen = tf.where(words[..., tf.newaxis], values, 0.0)
    count = tf.maximum(tf.math.count_nonzero(words, axis=1, keepdims=True, dtype=tf.float32), 1.0)
    return tf.reduce_sum(chosen, axis=1) / count


def phrase_vectors(word_embeddings: tf.Tensor, content: tf.Tensor) -> tf.Tensor:
    """Computes the vectors of the phrases of sentences, which are runs of content words.

    Args:
        word_embeddings: s_t, float tensor [S, T, D].
        content: Boolean tensor [S, T], True for words that name something.

    Returns:
        Float tensor [S, T, D]: for each content word, the mean of the vectors of its phrase.

    Example:
        >>> import tensorflow as tf
        >>> words = tf.constant([[[3.0, 0.0], [0.0, 4.0], [9.0, 9.0], [0.0, 2.0]]])
        >>> content = tf.constant([[True, True, False, True]])
        >>> phrase_vectors(words, content).numpy()[0, [0, 1, 3]]
        array([[1.5, 2. ],
               [1.5, 2. ],
               [0. , 2. ]], dtype=float32)
    """
    same = tf.cast(same_phrase(content), word_embeddings.dtype)
    count = tf.maximum(tf.reduce_sum(same, axis=2, keepdims=True), 1.0)
    return tf.matmul(same, word_embeddings) / count


def overlaps_with_others(expected: tf.Tensor, content: tf.Tensor, words: tf.Tensor) -> tf.Tensor:
    """Computes o, the largest overlap that a region is expected to have with another phrase.

    Args:
        expected: Σ_j p_j IoU(i, j) of the phrase of every word of a sentence, float tensor
            [N, T, R].
        content: Boolean tensor [N, T], True for the words of the sentence that name something; runs
            of them are the phrases.
        words: Boolean tensor [N, K, T], True for the words of K phrases in question. The other
            phrases of each are those without any of its words.

    Returns:
        Float tensor [N, K, R]; zeros if the sentence has no other phrase.
    """
    together = tf.cast(same_phrase(content), tf.float32)
    own = tf.matmul(tf.cast(words, tf.float32), together) > 0
    others = content[:, tf.newaxis] & ~own
    return tf.reduce_max(tf.where(others[..., tf.newaxis], expected[:, tf.newaxis], 0.0), axis=2)


def same_phrase(content: tf.Tensor) -> tf.Tensor:
    """Finds pairs of words of one phrase, a run of content words: bool [S, T] to [S, T, T]."""
    run = tf.cumsum(tf.cast(~content, tf.int32), axis=1)
    same = tf.equal(run[:, :, tf.newaxis], run[:, tf.newaxis])
    return same & content[:, :, tf.newaxis] & content[:, tf.newaxis]


def region_probabilities(
    means: tf.Tensor,
    region_scores: tf.Tensor,
    region_mask: tf.Tensor,
    readout: Readout,
    overlaps: tf.Tensor | None = None,
) -> tf.Tensor:
    """Computes p of the read-out `phrase`, the probabilities that regions are that of a phrase.

    Args:
        means: m, float tensor [..., R].
        region_scores: q, the proposer's scores, float tensor [..., R].
        region_mask: Boolean tensor [..., R], True for real regions; the others get 0.
        readout: Constants λ, a, b and c.
        overlaps: o, float tensor [..., R]; None is 0.

    Returns:
        Float tensor [..., R].
    """
    return masked_softmax(_region_logits(means, region_scores, readout, overlaps), region_mask)


def highest_points(weights: tf.Tensor, boxes: tf.Tensor, falloff: float = 0.0) -> tf.Tensor:
    """Finds the highest point of Σ_i w_i f_i [point in box i] / √area_i.

    The points are the centres of `GRID` x `GRID` cells. All the highest of them are averaged: with
    f = 1, they lie where the boxes of the largest weights intersect.

    Args:
        weights: w, float tensor [N, R]; 0 for padded regions.
        boxes: Float tensor [N, R, 4], `rel_yxyx`.
        falloff: The difference between f at the centre of a box, which is 1, and in the middle of
            its edges. With 0, boxes are filled evenly.

    Returns:
        (y, x), float tensor [N, 2].
    """
    centres = (tf.range(GRID, dtype=tf.float32) + 0.5) / GRID
    low, high = boxes[..., :2, tf.newaxis], boxes[..., 2:, tf.newaxis]
    # A box between two centres holds the one that is nearest.
    nearest = tf.abs(centres - (low + high) / 2) <= 0.5 / GRID + _TINY
    inside = tf.cast(((centres >= low) & (centres <= high)) | nearest, tf.float32)  # [N, R, 2, G]
    if falloff:
        half = tf.maximum((high - low) / 2, 0.5 / GRID)
        inside *= 1 - falloff * tf.square((centres - (low + high) / 2) / half)
    sides = tf.maximum(boxes[..., 2:] - boxes[..., :2], 1.0 / GRID)
    density = weights * tf.math.rsqrt(sides[..., 0] * sides[..., 1])
    rows, columns = density[..., tf.newaxis] * inside[:, :, 0], inside[:, :, 1]
    heat = tf.matmul(rows, columns, transpose_a=True)  # [N, G, G]
    highest = tf.reduce_max(heat, axis=[1, 2], keepdims=True)
    is_highest = tf.cast(heat >= highest * (1 - _TINY), tf.float32)
    count = tf.reduce_sum(is_highest, axis=[1, 2])
    y = tf.linalg.matvec(tf.reduce_sum(is_highest, axis=2), centres) / count
    x = tf.linalg.matvec(tf.reduce_sum(is_highest, axis=1), centres) / count
    return tf.stack([y, x], axis=1)


def _by_word(evidence: PhraseEvidence, means: tf.Tensor, readout: Readout) -> tf.Tensor:
    """The sum of the similarities of all words of the phrase."""
    return tf.reduce_sum(tf.where(evidence.words[..., tf.newaxis], evidence.similarities, 0.0), 1)


def _by_mrf(evidence: PhraseEvidence, means: tf.Tensor, readout: Readout) -> tf.Tensor:
    """The votes of the words; of equal votes, the sum of the similarities decides."""
    chosen = tf.where(evidence.words, evidence.word_regions, -1)
    votes = tf.one_hot(chosen, tf.shape(evidence.boxes)[1])  # [N, T, R]
    supported = tf.where(votes > 0, evidence.similarities, 0.0)
    support = tf.where(evidence.region_mask, _by_word(evidence, means, readout), 0.0)
    votes, supported = tf.reduce_sum(votes, axis=1), tf.reduce_sum(supported, axis=1)
    tie = tf.where(votes > 0, supported, support)
    spread = tf.reduce_max(tf.abs(tie), axis=1, keepdims=True) + _TINY
    return votes + tie / (3 * spread)


def _by_expected_overlap(evidence: PhraseEvidence, means: tf.Tensor, readout: Readout) -> tf.Tensor:
    """The overlap that is expected of a region under the softmax of the mean similarities."""
    scores, mask = evidence.region_scores, evidence.region_mask
    weights = region_probabilities(means, scores, mask, readout, evidence.overlaps)
    return expected_overlaps(weights[:, tf.newaxis], evidence.boxes)[:, 0]


def _region_logits(
    means: tf.Tensor, region_scores: tf.Tensor, readout: Readout, overlaps: tf.Tensor | None
) -> tf.Tensor:
    """The logits of p, of which those of padded regions have no meaning."""
    logits = readout.box_scale * means
    if readout.proposer_weight:
        probabilities = tf.clip_by_value(region_scores, _TINY, 1.0)
        logits += readout.proposer_weight * tf.math.log(probabilities)
    logits -= readout.frame_penalty * tf.one_hot(0, tf.shape(means)[-1])
    if overlaps is not None:
        logits -= readout.overlap_penalty * overlaps
    return logits


def _points(evidence: PhraseEvidence, means: tf.Tensor, readout: Readout) -> tf.Tensor:
    """The highest points of the heat maps."""
    scores, mask = evidence.region_scores, evidence.region_mask
    if readout.heat_map == "flat":
        return highest_points(masked_softmax(readout.point_scale * means, mask), evidence.boxes)
    readout = readout._replace(box_scale=readout.point_scale)
    weights = region_probabilities(means, scores, mask, readout, evidence.overlaps)
    return highest_points(weights, evidence.boxes, _FALLOFF)


READOUTS: dict[str, Callable[[PhraseEvidence, tf.Tensor, Readout], tf.Tensor]] = {
    "word": _by_word,
    "mrf": _by_mrf,
    "phrase": _by_expected_overlap,
}
"""Functions from the evidence, the mean similarities [N, R] and the settings to the values [N, R]
by which regions are ranked."""
