"""How well single words fit pictures, so that a page can rank them by a sentence without a model.

The score of a sentence is a sum over its words (section 3.1.3), but a word's embedding depends on
the words around it. Here every word stands for itself: by the mean of its embeddings in sentences
that people wrote, or, if they did not use it, by its embedding alone.
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from visem_tf.models.alignment_model import AlignmentModel
from visem_tf.regions.extractor import Regions
from visem_tf.runs.scoring import sentence_token_ids
from visem_tf.text import PAD_ID, SPECIAL_WORDS, Vocabulary

_AT_A_TIME = 200


def word_embeddings(
    model: AlignmentModel, vocabulary: Vocabulary, sentences: Sequence[str], max_words: int
) -> tf.Tensor:
    """One embedding for every word.

    Args:
      model: Embeds words.
      vocabulary: The words.
      sentences: In which words are seen.
      max_words: Sentences are cut to this many.

    Returns:
      float32 [V - 4, D], a row a word without the special ones.
    """
    encode = tf.function(
        model.encode_sentences, input_signature=[tf.TensorSpec([None, None], tf.int32)]
    )
    count = len(vocabulary)
    first = len(SPECIAL_WORDS)
    total, seen = tf.zeros([count, model.region_encoder.embedding_dim]), tf.zeros([count])
    token_ids = sentence_token_ids(vocabulary, sentences, max_words)
    for start in range(0, token_ids.shape[0], _AT_A_TIME):
        block = token_ids[start : start + _AT_A_TIME].to_tensor(PAD_ID)
        real = tf.where(tf.not_equal(block, PAD_ID))
        words = tf.gather_nd(block, real)
        found = tf.cast(tf.gather_nd(encode(block), real), tf.float32)
        total += tf.math.unsorted_segment_sum(found, words, count)
        seen += tf.math.bincount(words, minlength=count, maxlength=count, dtype=tf.float32)
    parts = []
    for start in range(first, count, _AT_A_TIME):
        alone = tf.range(start, min(start + _AT_A_TIME, count))[:, tf.newaxis]
        parts.append(tf.cast(encode(alone)[:, 0], tf.float32))
    mean = tf.math.divide_no_nan(total, seen[:, tf.newaxis])[first:]
    return tf.where(seen[first:, tf.newaxis] > 0, mean, tf.concat(parts, axis=0))


def word_scores(model: AlignmentModel, embeddings: tf.Tensor, regions: Regions) -> np.ndarray:
    """What every word adds to the score of every picture: its best region's v_i . s_t.

    Args:
      model: Embeds regions.
      embeddings: float [V - 4, D], of `word_embeddings`.
      regions: Of I pictures.

    Returns:
      float32 [V - 4, I].
    """
    blocks = []
    for start in range(0, len(regions.region_features), _AT_A_TIME):
        rows = slice(start, start + _AT_A_TIME)
        pictures = model.encode_regions(tf.constant(regions.region_features[rows]))
        products = tf.einsum("vd,ird->vir", embeddings, pictures)
        lowest = tf.constant(float("-inf"), products.dtype)
        products = tf.where(tf.constant(regions.region_mask[rows]), products, lowest)
        blocks.append(tf.reduce_max(products, axis=2).numpy())
    return np.concatenate(blocks, axis=1)
