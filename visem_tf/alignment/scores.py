"""Image-sentence scores and the ranking loss (section 1 of the paper), as pure functions.

The paper's score of image k with sentence l lets every word pick its best region:

    S_kl = sum over words t of l of  max over regions i of k of  v_i . s_t

Its other forms are in `visem_tf.scores`, the other losses in `visem_tf.losses`.
"""

import tensorflow as tf

from visem_tf.losses import hinge_sum, negatives
from visem_tf.scores import Products, Score, get_score

COLLAPSED_SPREAD = 1e-3
"""Scores whose `score_spread` is a smaller part of the margin are taken for equal."""


def alignment_scores(
    region_embeddings: tf.Tensor,
    word_embeddings: tf.Tensor,
    region_mask: tf.Tensor | None = None,
    word_mask: tf.Tensor | None = None,
    *,
    score: str = "best_region",
    sharpness: float = 9.0,
    normalise_by_length: bool = False,
    chunk_size: int | tf.Tensor | None = None,
) -> tf.Tensor:
    """The score of every image with every sentence.

    Memory grows with B * R * (number of real words); `chunk_size` bounds B in it. Gradients then
    need only which region was best for every word and image.

    Args:
      region_embeddings: v_i, float [B, R, D].
      word_embeddings: s_t, float [N, T, D].
      region_mask: bool [B, R], True = real; None: all are. A padded region never wins the maximum,
        even where all real products are negative. Every image needs a real region.
      word_mask: bool [N, T], True = real; None: all are. A padded word adds 0.
      score: "best_region" as above, or another module of `visem_tf.scores`: "fragments", "cosine",
        "attention".
      sharpness: of "attention", which explains it.
      normalise_by_length: divides a score by the sentence's number of words; the paper's plain sum
        grows with it.
      chunk_size: number of images that are scored at a time; None: all at once.

    Returns:
      S_kl, [B, N], float32 (float64 for embeddings in float64).

    Raises:
      ValueError: if `score` or `chunk_size` is not one of the above.

    Example:
      >>> import tensorflow as tf
      >>> regions = tf.constant([[[1.0, 0.0], [0.0, 2.0]]])  # one image, two regions
      >>> words = tf.constant([[[1.0, 0.0], [1.0, 1.0]]])  # one sentence, two words
      >>> alignment_scores(regions, words).numpy()  # 1 + 2
      array([[3.]], dtype=float32)
    """
    form = get_score(score)
    if chunk_size is not None and not tf.is_tensor(chunk_size) and chunk_size < 1:
        raise ValueError(f"chunk_size must be at least 1 or None, not {chunk_size!r}")
    region_embeddings = tf.convert_to_tensor(region_embeddings)
    word_embeddings = tf.convert_to_tensor(word_embeddings)
    if form.unit:
        region_embeddings = unit_vectors(region_embeddings)
    sentence_count, longest = tf.unstack(tf.shape(word_embeddings)[:2])
    if word_mask is None:
        word_mask = tf.ones([sentence_count, longest], tf.bool)
    positions = tf.where(word_mask)  # [words, 2]
    words = tf.gather_nd(word_embeddings, positions)  # [words, D]
    if form.unit:
        words = unit_vectors(words)
    sentence = tf.cast(positions[:, 0], tf.int32)

    def scores_of(regions: tf.Tensor, mask: tf.Tensor | None) -> tf.Tensor:
        products = _products(regions, mask, words, sentence, sentence_count)
        by_word = _word_scores(products, form, sharpness)  # [words, images]
        return tf.transpose(tf.math.unsorted_segment_sum(by_word, sentence, sentence_count))

    if chunk_size is None:
        scores = scores_of(region_embeddings, region_mask)
    else:
        scores = _in_chunks(scores_of, region_embeddings, region_mask, chunk_size)
    if normalise_by_length or form.mean:
        lengths = tf.math.count_nonzero(word_mask, axis=1, dtype=scores.dtype)
        scores /= tf.maximum(lengths, 1)
    return tf.ensure_shape(scores, (region_embeddings.shape[0], word_embeddings.shape[0]))


def word_region_similarities(
    region_embeddings: tf.Tensor,
    word_embeddings: tf.Tensor,
    region_mask: tf.Tensor | None = None,
    *,
    score: str = "best_region",
) -> tf.Tensor:
    """v_i . s_t for images and sentences that belong together, row by row.

    Args:
      region_embeddings: float [B, R, D].
      word_embeddings: float [B, T, D].
      region_mask: bool [B, R], True = real; None: all are.
      score: the form of the score that they were trained with; "cosine" and "attention" compare
        vectors of length 1, so that the result is the cosine.

    Returns:
      float [B, T, R]; minus infinity at padded regions.
    """
    if get_score(score).unit:
        region_embeddings = unit_vectors(tf.convert_to_tensor(region_embeddings))
        word_embeddings = unit_vectors(tf.convert_to_tensor(word_embeddings))
    similarities = tf.matmul(word_embeddings, region_embeddings, transpose_b=True)
    if region_mask is None:
        return similarities
    mask = tf.convert_to_tensor(region_mask)[:, tf.newaxis]
    return tf.where(mask, similarities, tf.constant(float("-inf"), similarities.dtype))


def ranking_loss(scores: tf.Tensor, image_ids: tf.Tensor, margin: float = 1.0) -> tf.Tensor:
    """The paper's objective C over a batch of matching pairs, a sum and not a mean.

        C = sum_k [ sum_{l != k} max(0, S_kl - S_kk + margin)     rank sentences for image k
                  + sum_{l != k} max(0, S_lk - S_kk + margin) ]   rank images for sentence k

    Pairs k and l of one image are no negatives of each other: the sums leave them out, as they
    leave out l = k.

    Args:
      scores: S_kl, float [B, B]; image k and sentence k belong together.
      image_ids: int [B], the image of every pair.
      margin: by how much a true score must exceed a false one.

    Returns:
      C, a scalar.

    Example:
      >>> import tensorflow as tf
      >>> float(ranking_loss(tf.constant([[2.0, 1.5], [0.0, 1.0]]), tf.constant([7, 8])))
      2.0
    """
    return hinge_sum.loss(scores, image_ids, margin=margin)


def score_spread(scores: tf.Tensor, image_ids: tf.Tensor) -> tf.Tensor:
    """The mean distance of a false score from the true one: 0 in a collapsed model.

    Args:
      scores: S_kl, float [B, B].
      image_ids: int [B].

    Returns:
      The mean of |S_kl - S_kk| and |S_lk - S_kk| over the negatives, a scalar; 0 without negatives.

    Example:
      >>> import tensorflow as tf
      >>> float(score_spread(tf.constant([[2.0, 1.5], [0.0, 1.0]]), tf.constant([7, 8])))
      1.0
    """
    apart = negatives(image_ids)
    true = tf.linalg.diag_part(scores)
    distances = tf.abs(scores - true[:, tf.newaxis]) + tf.abs(scores - true[tf.newaxis])
    total = tf.reduce_sum(tf.where(apart, distances, 0))
    return tf.math.divide_no_nan(total, 2 * tf.math.count_nonzero(apart, dtype=scores.dtype))


def is_collapsed(
    loss: float, batch_size: int, margin: float = 1.0, spread: float | None = None
) -> bool:
    """Whether a loss is that of a model which gives one score to all pairs.

    Such a model pays the margin for every negative, in both directions: 2 (B - 1) margin a pair.
    A loss stuck within 0.1% of that is the sign. (A model with random scores closer together than
    the margin has that loss too, but does not stay there; the spread of its scores tells it apart.)

    Args:
      loss: C / B, the loss a pair, as `AlignmentModel` logs it.
      batch_size: B, the size of the global batch.
      margin: the margin of the loss.
      spread: `score_spread`, as `AlignmentModel` logs it; 0.1% of the margin or more is no
        collapse. None: judge by the loss alone.

    Example:
      >>> is_collapsed(198.0, batch_size=100), is_collapsed(120.0, batch_size=100)
      (True, False)
    """
    if batch_size < 2:  # no negatives
        return False
    collapsed = 2 * (batch_size - 1) * margin
    scores_agree = spread is None or spread < COLLAPSED_SPREAD * margin
    return scores_agree and abs(loss - collapsed) <= COLLAPSED_SPREAD * collapsed


def unit_vectors(vectors: tf.Tensor) -> tf.Tensor:
    """Vectors divided by their length; the epsilon inside the root keeps gradients finite."""
    squares = tf.reduce_sum(tf.square(vectors), axis=-1, keepdims=True)
    return vectors * tf.math.rsqrt(squares + 1e-12)


def _products(
    regions: tf.Tensor,
    mask: tf.Tensor | None,
    words: tf.Tensor,
    sentence: tf.Tensor,
    sentence_count: tf.Tensor,
) -> Products:
    """All words [words, D] with all regions [B, R, D]."""
    images, region_count, _ = tf.unstack(tf.shape(regions))
    flat = tf.reshape(regions, [images * region_count, regions.shape[-1]])
    values = tf.matmul(words, flat, transpose_b=True)
    values = tf.reshape(values, [-1, images, region_count])
    return Products(values, mask, regions, sentence, sentence_count)


def _word_scores(products: Products, form: Score, sharpness: float) -> tf.Tensor:
    """What every word adds to the score of every image, [words, B] in at least float32."""
    by_word = form.of_words(products, sharpness)
    return by_word if by_word.dtype == tf.float64 else tf.cast(by_word, tf.float32)


def _in_chunks(function, regions, mask, chunk_size):
    """Rows of `function(regions, mask)`, [B, N], computed `chunk_size` at a time."""
    count = tf.shape(regions)[0]
    chunks = tf.maximum((count + chunk_size - 1) // chunk_size, 1)

    def step(chunk, rows):
        where = slice(chunk * chunk_size, (chunk + 1) * chunk_size)
        scores = function(regions[where], None if mask is None else mask[where])
        return chunk + 1, rows.write(chunk, scores)

    rows = tf.TensorArray(
        tf.float64 if regions.dtype == tf.float64 else tf.float32,
        chunks,
        infer_shape=False,
        element_shape=[None, None],
    )
    _, rows = tf.while_loop(lambda chunk, _: chunk < chunks, step, (0, rows), parallel_iterations=1)
    return rows.concat()
