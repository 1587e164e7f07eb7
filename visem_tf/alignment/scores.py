"""Scores of images with sentences (paper, section 3.1.3), as functions without weights.

In the paper, the score of image k with sentence l lets every word choose its best region:

    S_kl = Σ_t max_i v_i · s_t      over the words t of the sentence and the regions i of the image

`SCORES` holds this score and its variants by name. To add a score, write the function that computes
the contribution of each word, add an entry to `SCORES`, and add its name to
`visem_tf.config.registry`.
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

_EPSILON = 1e-8


class Products(NamedTuple):
    """Products of all words of N sentences with all regions of B images.

    Attributes:
        values: Products v_i · s_t, float tensor [words, B, R]; cosines for a score with unit
            vectors.
        mask: Boolean tensor [B, R], True for real regions, or None if all are real.
        regions: Region embeddings v_i, float tensor [B, R, D], of length 1 for a score with unit
            vectors.
        sentence: Index of the sentence of every word, int32 tensor [words].
        sentence_count: N, int32 scalar.
    """

    values: tf.Tensor
    mask: tf.Tensor | None
    regions: tf.Tensor
    sentence: tf.Tensor
    sentence_count: tf.Tensor


class Score(NamedTuple):
    """A way to score images with sentences.

    Attributes:
        of_words: Function from `Products` and the sharpness (used by "attention" only) to the
            contribution of every word to the score of every image, [words, B]. Padded regions must
            not change it.
        unit: Whether embeddings are scaled to length 1 first.
        mean: Whether the contributions of a sentence's words are averaged instead of summed.
    """

    of_words: Callable[[Products, float], tf.Tensor]
    unit: bool = False
    mean: bool = False


def best_region(products: Products, sharpness: float) -> tf.Tensor:
    """Computes max_i v_i · s_t: the score of the paper and, for unit vectors, "cosine".

    The mean of cosines lies between -1 and 1 whatever the lengths of the sentence and the vectors,
    which suits the margins of VSE++ (Faghri et al., 2018) and the temperatures of contrastive
    losses.
    """
    values = products.values
    if products.mask is not None:
        values += tf.cast(tf.where(products.mask, 0.0, -float("inf")), values.dtype)
    return _maximum(values)


@tf.custom_gradient
def _maximum(values: tf.Tensor) -> tf.Tensor:
    """The maximum over the last axis. Of equal values, the first receives the gradient."""
    winner = tf.argmax(values, axis=-1, output_type=tf.int32)

    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        chosen = tf.one_hot(winner, tf.shape(values)[-1], dtype=upstream.dtype)
        return chosen * upstream[..., tf.newaxis]

    return tf.reduce_max(values, axis=-1), gradient


def fragments(products: Products, sharpness: float) -> tf.Tensor:
    """Computes Σ_i max(0, v_i · s_t), the earlier score of Deep Fragments."""
    values = products.values
    if products.mask is not None:
        values = tf.where(products.mask, values, 0)
    return tf.reduce_sum(tf.nn.relu(values), axis=2)


def attention(products: Products, sharpness: float) -> tf.Tensor:
    """Computes the text-to-image attention of SCAN (Lee et al., ECCV 2018).

        c_it = cos(v_i, s_t)
        n_it = max(0, c_it) / sqrt(Σ_u max(0, c_iu)²)        over the words u of the sentence
        α_it = softmax_i(λ n_it)                             λ: the sharpness
        cos(s_t, Σ_i α_it v_i)                               v_i of length 1

    The attended vectors are never computed: their products with the word are Σ_i α_it c_it, and
    their lengths follow from the products of an image's regions with each other.
    """
    values, mask = products.values, products.mask
    positive = tf.nn.relu(values)
    squares = tf.math.unsorted_segment_sum(
        tf.square(positive), products.sentence, products.sentence_count
    )  # [N, B, R]
    share = positive * tf.gather(tf.math.rsqrt(squares + _EPSILON), products.sentence)
    logits = sharpness * share
    if mask is not None:
        logits = tf.where(mask, logits, tf.constant(float("-inf"), logits.dtype))
    weights = tf.nn.softmax(logits)  # [words, B, R]
    with_word = tf.reduce_sum(weights * values, axis=2)
    by_image = tf.transpose(weights, [1, 0, 2])  # [B, words, R]
    regions = products.regions
    squared_length = tf.reduce_sum(
        tf.matmul(by_image, tf.matmul(regions, regions, transpose_b=True)) * by_image, axis=2
    )
    return with_word * tf.math.rsqrt(tf.transpose(squared_length) + _EPSILON)


SCORES = {
    "attention": Score(attention, unit=True, mean=True),
    "best_region": Score(best_region),
    "cosine": Score(best_region, unit=True, mean=True),
    "fragments": Score(fragments),
}
"""Scores by their names in the configuration."""


def get_score(name: str) -> Score:
    """Returns the score with a name.

    Raises:
        ValueError: If there is no such score.

    Example:
        >>> get_score("best_region").mean
        False
    """
    if name not in SCORES:
        raise ValueError(f"score must be one of {', '.join(SCORES)}, not {name!r}")
    return SCORES[name]


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
        score: Name of the score: "best_region" (the paper's), "fragments", "cosine" or "attention".
        sharpness: Factor in the softmax of the score "attention".
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
        by_word = form.of_words(products, sharpness)  # [words, B]
        if by_word.dtype != tf.float64:
            by_word = tf.cast(by_word, tf.float32)
        return tf.transpose(tf.math.unsorted_segment_sum(by_word, sentence, sentence_count))

    if chunk_size is None:
        scores = score_images(region_embeddings, region_mask)
    else:
        scores = _in_chunks(score_images, region_embeddings, region_mask, chunk_size)
    if normalise_by_length or form.mean:
        lengths = tf.math.count_nonzero(word_mask, axis=1, dtype=scores.dtype)
        scores /= tf.maximum(lengths, 1)
    return tf.ensure_shape(scores, (region_embeddings.shape[0], word_embeddings.shape[0]))


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
        score: Name of the score that the embeddings were trained with. For "cosine" and
            "attention", the similarities are cosines.

    Returns:
        Float tensor [B, T, R], minus infinity at padded regions.
    """
    if get_score(score).unit:
        region_embeddings = unit_vectors(tf.convert_to_tensor(region_embeddings))
        word_embeddings = unit_vectors(tf.convert_to_tensor(word_embeddings))
    similarities = tf.matmul(word_embeddings, region_embeddings, transpose_b=True)
    if region_mask is None:
        return similarities
    mask = tf.convert_to_tensor(region_mask)[:, tf.newaxis]
    return tf.where(mask, similarities, tf.constant(float("-inf"), similarities.dtype))


def unit_vectors(vectors: tf.Tensor) -> tf.Tensor:
    """Scales vectors to length 1; the epsilon inside the root keeps gradients finite."""
    squares = tf.reduce_sum(tf.square(vectors), axis=-1, keepdims=True)
    return vectors * tf.math.rsqrt(squares + 1e-12)
