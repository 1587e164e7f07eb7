"""Scores of images with sentences (paper, section 3.1.3), as functions without weights.

In the paper, the score of image k with sentence l lets every word choose its best region:

    S_kl = Σ_t max_i v_i · s_t      over the words t of the sentence and the regions i of the image

`visem_tf.alignment.word_scores` has the variants of max_i v_i · s_t by their names.
"""

from collections.abc import Callable

import tensorflow as tf

from visem_tf.alignment.word_scores import Products, Score, ScoreOptions, get_score

MOST_PRODUCTS = 2**26
"""Largest number of products of a word and a region in memory at once; 256 MiB in float32."""


def alignment_scores(
    region_embeddings: tf.Tensor,
    word_embeddings: tf.Tensor,
    region_mask: tf.Tensor | None = None,
    word_mask: tf.Tensor | None = None,
    *,
    score: str = "best_region",
    sharpness: float = 9.0,
    threshold: float = 0.0,
    normalise_by_length: bool = False,
    chunk_size: int | tf.Tensor | None = None,
) -> tf.Tensor:
    """Computes the score of every image with every sentence.

    Memory grows with B * R * (number of real words); `chunk_size` limits B in this product.

    Args:
        region_embeddings: Region embeddings v_i, float tensor [B, R, D].
        word_embeddings: Word embeddings s_t, float tensor [N, T, D].
        region_mask: Boolean tensor [B, R], True for real regions, at least one per image. None
            means that all are real. Padded regions are never chosen, even where all products with
            real regions are negative.
        word_mask: Boolean tensor [N, T], True for real words. None means that all are real. Padded
            words add 0.
        score: Name of the score, a key of `visem_tf.alignment.word_scores.SCORES`; "best_region" is
            the paper's.
        sharpness: Factor λ of the scores "attention", "hard_alignment" and "negative_aware".
        threshold: Cosine τ of the score "negative_aware".
        normalise_by_length: Whether to divide each score by the number of words in the sentence.
            The paper's plain sum grows with it.
        chunk_size: Number of images that are scored at a time. None means all at once.

    Returns:
        Scores S_kl, float32 tensor [B, N] (float64 for float64 embeddings).

    Raises:
        ValueError: If `score` or `chunk_size` is invalid.

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
    sentence_count, longest = tf.unstack(tf.shape(word_embeddings)[:2])
    if word_mask is None:
        word_mask = tf.ones([sentence_count, longest], tf.bool)
    positions = tf.where(word_mask)  # [words, 2]
    words = tf.gather_nd(word_embeddings, positions)  # [words, D]
    if form.unit:
        region_embeddings, words = unit_vectors(region_embeddings), unit_vectors(words)
    sentence = tf.cast(positions[:, 0], tf.int32)

    def score_images(regions: tf.Tensor, mask: tf.Tensor | None) -> tf.Tensor:
        images, region_count, _ = tf.unstack(tf.shape(regions))
        flat = tf.reshape(regions, [images * region_count, regions.shape[-1]])
        values = tf.matmul(words, flat, transpose_b=True)
        values = tf.reshape(values, [-1, images, region_count])
        products = Products(values, mask, regions, sentence, sentence_count)
        return _of_sentences(form, products, ScoreOptions(sharpness, threshold))

    if chunk_size is None:
        scores = score_images(region_embeddings, region_mask)
    else:
        scores = _in_chunks(score_images, region_embeddings, region_mask, chunk_size)
    if normalise_by_length or form.pooling == "mean":
        lengths = tf.math.count_nonzero(word_mask, axis=1, dtype=scores.dtype)
        scores /= tf.maximum(lengths, 1)
    return tf.ensure_shape(scores, (region_embeddings.shape[0], word_embeddings.shape[0]))


def own_sentence_scores(
    region_embeddings: tf.Tensor,
    word_embeddings: tf.Tensor,
    region_mask: tf.Tensor | None = None,
    word_mask: tf.Tensor | None = None,
    *,
    score: str = "best_region",
    sharpness: float = 9.0,
    threshold: float = 0.0,
    normalise_by_length: bool = False,
) -> tf.Tensor:
    """Computes the scores of every image with N sentences of its own.

    The cost is that of B * N pairs; `alignment_scores` of the same sentences has B * B * N.

    Args:
        region_embeddings: Region embeddings v_i, float tensor [B, R, D].
        word_embeddings: Word embeddings s_t of the sentences of each image, float [B, N, T, D].
        region_mask: Boolean tensor [B, R], True for real regions. None means that all are real.
        word_mask: Boolean tensor [B, N, T], True for real words. None means that all are real.
        score: Name of the score, as for `alignment_scores`.
        sharpness: Factor λ of some scores.
        threshold: Cosine τ of the score "negative_aware".
        normalise_by_length: Whether to divide each score by the number of words in the sentence.

    Returns:
        Scores, float32 tensor [B, N] (float64 for float64 embeddings); 0 for a sentence without
        words.

    Example:
        >>> import tensorflow as tf
        >>> regions = tf.constant([[[1.0, 0.0], [0.0, 2.0]]])  # one image, two regions
        >>> words = tf.constant([[[[1.0, 0.0], [1.0, 1.0]], [[3.0, 0.0], [0.0, 0.0]]]])
        >>> own_sentence_scores(regions, words).numpy()
        array([[3., 3.]], dtype=float32)
    """
    form = get_score(score)
    images, sentences, longest, dim = tf.unstack(tf.shape(word_embeddings))
    # The words at one place of all images share a row of the products; padding is taken out after.
    words = tf.reshape(word_embeddings, [images, sentences * longest, dim])
    if word_mask is None:
        word_mask = tf.ones([images, sentences, longest], tf.bool)
    if form.unit:
        region_embeddings, words = unit_vectors(region_embeddings), unit_vectors(words)
    real = tf.reshape(word_mask, [images, sentences * longest])
    words = tf.where(real[..., tf.newaxis], words, 0)
    values = tf.transpose(tf.matmul(words, region_embeddings, transpose_b=True), [1, 0, 2])
    sentence = tf.repeat(tf.range(sentences), longest)
    products = Products(values, region_mask, region_embeddings, sentence, sentences)
    options = ScoreOptions(sharpness, threshold)
    scores = _of_sentences(form, products, options, tf.transpose(real))
    lengths = tf.math.count_nonzero(word_mask, axis=2, dtype=scores.dtype)
    if normalise_by_length or form.pooling == "mean":
        scores /= tf.maximum(lengths, 1)
    return tf.where(lengths > 0, scores, 0)


def _of_sentences(
    form: Score, products: Products, options: ScoreOptions, real: tf.Tensor | None = None
) -> tf.Tensor:
    """Pools the contributions of words into scores [B, N]; means are still sums here.

    Args:
        form: The score.
        products: Products of words and regions.
        options: Numbers of the score.
        real: Boolean tensor [words, B], True for words that count. None means that all count.
    """
    by_word = form.of_words(products, options)  # [words, B]
    if by_word.dtype != tf.float64:
        by_word = tf.cast(by_word, tf.float32)
    sentence, count = products.sentence, products.sentence_count
    if form.pooling != "log_sum_exp":
        if real is not None:
            by_word = tf.where(real, by_word, 0)
        return tf.transpose(tf.math.unsorted_segment_sum(by_word, sentence, count))
    if real is not None:
        by_word = tf.where(real, by_word, tf.constant(-1e9, by_word.dtype))
    largest = tf.stop_gradient(tf.math.unsorted_segment_max(by_word, sentence, count))  # [N, B]
    powers = tf.exp(options.sharpness * (by_word - tf.gather(largest, sentence)))
    total = tf.math.unsorted_segment_sum(powers, sentence, count)  # 0 without words, else >= 1
    pooled = largest + tf.math.log(tf.maximum(total, 1)) / options.sharpness
    return tf.transpose(tf.where(total > 0, pooled, 0))


def _in_chunks(
    function: Callable[[tf.Tensor, tf.Tensor | None], tf.Tensor],
    regions: tf.Tensor,
    mask: tf.Tensor | None,
    chunk_size: int | tf.Tensor,
) -> tf.Tensor:
    """Computes the rows of `function(regions, mask)`, `chunk_size` images at a time."""
    chunks = tf.maximum((tf.shape(regions)[0] + chunk_size - 1) // chunk_size, 1)
    dtype = tf.float64 if regions.dtype == tf.float64 else tf.float32
    rows = tf.TensorArray(dtype, chunks, infer_shape=False, element_shape=[None, None])

    def step(chunk: tf.Tensor, rows: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
        images = slice(chunk * chunk_size, (chunk + 1) * chunk_size)
        scores = function(regions[images], None if mask is None else mask[images])
        return chunk + 1, rows.write(chunk, scores)

    _, rows = tf.while_loop(lambda chunk, _: chunk < chunks, step, (0, rows), parallel_iterations=1)
    return rows.concat()


def word_region_similarities(
    region_embeddings: tf.Tensor,
    word_embeddings: tf.Tensor,
    region_mask: tf.Tensor | None = None,
    *,
    score: str = "best_region",
) -> tf.Tensor:
    """Computes v_i · s_t for pairs of an image and a sentence.

    Args:
        region_embeddings: Float tensor [B, R, D].
        word_embeddings: Float tensor [B, T, D].
        region_mask: Boolean tensor [B, R], True for real regions. None means that all are real.
        score: Name of the score that the embeddings were trained with. For scores of unit vectors,
            the similarities are cosines.

    Returns:
        Float tensor [B, T, R], minus infinity at padded regions.
    """
    regions = as_compared(region_embeddings, score)
    words = as_compared(word_embeddings, score)
    similarities = tf.matmul(words, regions, transpose_b=True)
    if region_mask is None:
        return similarities
    mask = tf.convert_to_tensor(region_mask)[:, tf.newaxis]
    return tf.where(mask, similarities, tf.constant(float("-inf"), similarities.dtype))


def as_compared(vectors: tf.Tensor, score: str) -> tf.Tensor:
    """Returns embeddings as a score compares them: of length 1 for scores of unit vectors."""
    vectors = tf.convert_to_tensor(vectors)
    return unit_vectors(vectors) if get_score(score).unit else vectors


def unit_vectors(vectors: tf.Tensor) -> tf.Tensor:
    """Scales vectors to length 1; the epsilon inside the root keeps gradients finite."""
    squares = tf.reduce_sum(tf.square(vectors), axis=-1, keepdims=True)
    return vectors * tf.math.rsqrt(squares + 1e-12)
