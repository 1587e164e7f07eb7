"""Beams that an alignment model ranks: sentences that are probable and whose words are seen."""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from visem_tf.alignment.scores import word_region_similarities
from visem_tf.decoding.common import CaptioningModel, gather_beams
from visem_tf.decoding.ensemble import EnsembleModel
from visem_tf.models.alignment_model import AlignmentModel
from visem_tf.text import END_ID, PAD_ID


class RerankedModel(EnsembleModel):
    """Generators whose sentences an alignment model ranks after beam search, by

        log p / length ** n + weight · mean_t max_i v_i · s_t

    over the words t of a sentence and the regions i of its image: the score of section 3.1.3 for
    each word, beside the probability that the generators give the sentence. As in beam search,
    sentences that have ended come before those that were cut off at the largest length.

    Args:
        members: Generators, or other captioning models; one of them reads regions.
        alignment: Alignment model with the same vocabulary and the same region features.
        weight: Weight of the mean similarity.
        encode_sentences: Computes the word embeddings [N, T, D] of token ids [N, T], if it is not
            `alignment.encode_sentences`.

    Raises:
        ValueError: If `members` is empty, or none of them reads regions.
    """

    def __init__(
        self,
        members: Sequence[CaptioningModel],
        alignment: AlignmentModel,
        weight: float,
        encode_sentences: Callable[[tf.Tensor], tf.Tensor] | None = None,
    ) -> None:
        super().__init__(members)
        if not self.reads_regions:
            raise ValueError("one of the members must read regions")
        self.alignment = alignment
        self.weight = weight
        self.encode_sentences = encode_sentences or alignment.encode_sentences

    def rank(
        self,
        image_features: Any,
        token_ids: tf.Tensor,
        log_probs: tf.Tensor,
        length_normalisation: float = 0.0,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Ranks the sentences of a beam.

        Args:
            image_features: Regions of B images, see `inputs_of_images`.
            token_ids: Int32 tensor [B, K, L]: the words, END, then PAD.
            log_probs: Float32 tensor [B, K], log p of the sentences.
            length_normalisation: n; the length counts END.

        Returns:
            The same token_ids and log_probs, best first.
        """
        words = tf.where(tf.equal(token_ids, END_ID), PAD_ID, token_ids)
        is_word = tf.not_equal(words, PAD_ID)
        batch, beams, length = tf.unstack(tf.shape(words))
        embeddings = self.encode_sentences(tf.reshape(words, [batch * beams, length]))
        similarities = word_region_similarities(
            self.alignment.encode_regions(image_features["region_features"]),
            tf.reshape(embeddings, [batch, beams * length, embeddings.shape[-1]]),
            image_features["region_mask"],
            score=self.alignment.score,
        )
        best = tf.reshape(tf.reduce_max(similarities, axis=2), [batch, beams, length])
        count = tf.reduce_sum(tf.cast(is_word, tf.float32), axis=2)
        fit = tf.reduce_sum(tf.where(is_word, best, 0.0), axis=2) / tf.maximum(count, 1.0)
        tokens = tf.reduce_sum(tf.cast(tf.not_equal(token_ids, PAD_ID), tf.float32), axis=2)
        ranking = log_probs / tf.maximum(tokens, 1.0) ** length_normalisation + self.weight * fit
        order = tf.argsort(ranking, axis=1, direction="DESCENDING", stable=True)
        cut_off = tf.cast(tf.reduce_all(tf.not_equal(token_ids, END_ID), axis=2), tf.int32)
        finished_first = tf.argsort(gather_beams(cut_off, order), axis=1, stable=True)
        order = gather_beams(order, finished_first)
        return gather_beams(token_ids, order), gather_beams(log_probs, order)
