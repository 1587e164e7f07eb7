"""From words to regions, for every caller: stages, commands, the demo, the report and the export.

Words and regions are compared as the trained score compares them (section 3.1.3): by v_i . s_t, or
by the cosine for scores of vectors of length 1. The chain MRF of section 3.1.4 then chooses a
region for every word.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from visem_tf.alignment.function_words import weigh_function_words
from visem_tf.alignment.hubness import Hubness
from visem_tf.alignment.mrf import smooth_alignment
from visem_tf.alignment.plurals import word_numbers
from visem_tf.alignment.scores import word_region_similarities
from visem_tf.alignment.segments import box_as_json
from visem_tf.config import Config
from visem_tf.models.alignment_model import AlignmentModel
from visem_tf.regions.dataset_cache import FeatureCache
from visem_tf.runs.query import Query, ragged_ids, read_query
from visem_tf.runs.scoring import Scorer
from visem_tf.runtime.progress import progress_bar
from visem_tf.text import FUNCTION_WORDS, PAD_ID, UNK_ID, Vocabulary

_PAIRS_AT_A_TIME = 200


class WordGrounding(NamedTuple):
    """The region of every word of B sentences, each in its own image.

    Attributes:
        regions: Region of every word, int32 [B, T]; -1 in the padding.
        scores: v_i . s_t of every word with its region, float32 [B, T]; 0 in the padding.
        boxes: Box of that region, float32 [B, T, 4], `rel_yxyx`; 0 in the padding.
    """

    regions: Any
    scores: Any
    boxes: Any


class Grounder:
    """Scores sentences with images, and finds the region of every word.

    Args:
        model: Built alignment model; its weights may change between calls.
        vocabulary: Vocabulary of the run.
        config: Configuration of the run.
        hubness: What is subtracted from scores, if anything.
    """

    def __init__(
        self,
        model: AlignmentModel,
        vocabulary: Vocabulary,
        config: Config,
        hubness: Hubness | None = None,
    ) -> None:
        self.model = model
        self.vocabulary = vocabulary
        self.config = config
        self.scorer = Scorer(model, hubness=hubness)
        self.is_function = vocabulary.among(FUNCTION_WORDS)
        self.word_numbers = word_numbers(vocabulary.words)
        self._ground = tf.function(self.ground_words, reduce_retracing=True)

    def read(self, text: str, phrases: Sequence[str] | None = None) -> Query:
        """Reads a sentence with `read_query`; it is cut at the length of training sentences."""
        return read_query(text, self.vocabulary, self.config.text.max_words, phrases)

    def embed(self, region_features: np.ndarray) -> np.ndarray:
        """Embeds regions: CNN features [B, R, F] to v, float [B, R, D]."""
        return self.scorer.encode_regions(tf.constant(region_features)).numpy()

    def scores(
        self,
        embeddings: np.ndarray,
        mask: np.ndarray,
        queries: Sequence[Query],
        image_hubness: np.ndarray | None = None,
    ) -> np.ndarray:
        """Scores every image with every sentence.

        Args:
            embeddings: Region embeddings of B images, float [B, R, D].
            mask: Boolean array [B, R], True for real regions.
            queries: N sentences.
            image_hubness: What `Scorer.image_hubness` returns for the images, if it is known.

        Returns:
            S_kl of section 3.1.3, float32 [B, N]; without the hubness of the image and of the
            sentence if `infer.hubness_scale` is set.
        """
        words = ragged_ids(queries)
        images = [(tf.constant(embeddings), tf.constant(mask))]
        return self.scorer.of_blocks(images, words, image_hubness)

    def ground_words(
        self,
        region_embeddings: tf.Tensor,
        region_mask: tf.Tensor,
        boxes: tf.Tensor,
        token_ids: tf.Tensor,
        beta: float | tf.Tensor | None = None,
    ) -> WordGrounding:
        """Chooses a region for every word of B sentences, each in its own image, in graph.

        Args:
            region_embeddings: Output of `model.encode_regions`, float [B, R, D].
            region_mask: Boolean tensor [B, R], True for real regions.
            boxes: Boxes of the regions, float [B, R, 4], `rel_yxyx`.
            token_ids: Words of the sentences, int32 [B, T], `PAD_ID` after the last word.
            beta: Reward for neighbouring words that share a region; None is as configured.

        Returns:
            The regions of the words, as tensors.
        """
        model, settings = self.model, self.config.infer
        similarities = word_region_similarities(
            region_embeddings, model.encode_sentences(token_ids), region_mask, score=model.score
        )
        word_mask = tf.not_equal(token_ids, PAD_ID)
        weighted, rewards = weigh_function_words(
            similarities,
            tf.gather(self.is_function, token_ids),
            settings.beta if beta is None else beta,
            weight=settings.function_word_weight,
            boundary=settings.boundary,
        )
        regions = smooth_alignment(weighted, word_mask, region_mask, beta=rewards)
        chosen = tf.maximum(regions, 0)
        scores = tf.gather(similarities, chosen, axis=2, batch_dims=2)
        boxes = tf.gather(boxes, chosen, axis=1, batch_dims=1)
        return WordGrounding(
            regions,
            tf.where(word_mask, scores, 0.0),
            tf.where(word_mask[..., tf.newaxis], boxes, 0.0),
        )

    def ground(
        self,
        embeddings: np.ndarray,
        mask: np.ndarray,
        boxes: np.ndarray,
        queries: Sequence[Query],
        beta: float | None = None,
    ) -> WordGrounding:
        """Finds the regions of the words of B sentences, each in its own image.

        Args:
            embeddings: Region embeddings of B images, float [B, R, D].
            mask: Boolean array [B, R], True for real regions.
            boxes: Boxes of the regions, float [B, R, 4], `rel_yxyx`.
            queries: B sentences, one an image.
            beta: Reward for neighbouring words that share a region; None uses `infer.beta`.

        Returns:
            The regions of the words, as NumPy arrays.
        """
        words = ragged_ids(queries)
        images = np.arange(len(queries))
        return self._in_blocks(
            lambda rows: (embeddings[rows], mask[rows], boxes[rows]), images, words, beta
        )

    def ground_split(
        self,
        cache: FeatureCache,
        token_ids: tf.RaggedTensor,
        image_index: np.ndarray,
        beta: float | None = None,
    ) -> WordGrounding:
        """Finds the regions of the words of S sentences in the images of a split.

        Args:
            cache: Regions of the split.
            token_ids: Words of the sentences, int32 [S, (T)].
            image_index: Position of the image of every sentence, int [S].
            beta: Reward for neighbouring words that share a region; None uses `infer.beta`.

        Returns:
            The regions of the words, as NumPy arrays.
        """

        def read(positions: np.ndarray) -> tuple[tf.Tensor, np.ndarray, np.ndarray]:
            regions = cache.gather(positions)
            features = tf.constant(regions.region_features)
            return self.scorer.encode_regions(features), regions.region_mask, regions.boxes

        return self._in_blocks(read, image_index, token_ids, beta)

    def similarities(
        self, embeddings: np.ndarray, mask: np.ndarray, queries: Sequence[Query]
    ) -> np.ndarray:
        """Computes v_i . s_t of the words of B sentences, each with the regions of its own image.

        Args:
            embeddings: Region embeddings of B images, float [B, R, D].
            mask: Boolean array [B, R], True for real regions.
            queries: B sentences, one an image.

        Returns:
            float32 array [B, T, R], 0 in the padding of the words and minus infinity in that of the
            regions.
        """
        words = ragged_ids(queries)
        encoded = self.scorer.encode_sentences(words.to_tensor(PAD_ID))
        score = self.model.score
        return word_region_similarities(embeddings, encoded, mask, score=score).numpy()

    def fits(self, region_features: np.ndarray, texts: Sequence[str]) -> np.ndarray:
        """Scores each region with its own text.

        Args:
            region_features: CNN features of the regions of B images, float [B, R, F].
            texts: B * R texts.

        Returns:
            Sums of v_i . s_t over the words, float32 [B, R].
        """
        words = self.vocabulary.encode(tf.constant(texts)).to_tensor(PAD_ID)
        embeddings = self.scorer.encode_regions(tf.constant(region_features))
        similarities = word_region_similarities(
            tf.reshape(embeddings, [len(texts), 1, embeddings.shape[-1]]),
            self.scorer.encode_sentences(words),  # 0 in the padding
            score=self.model.score,
        )
        return tf.reduce_sum(similarities, [1, 2]).numpy().reshape(region_features.shape[:2])

    def _in_blocks(self, read, image_index, token_ids, beta) -> WordGrounding:
        """Grounds pairs of an image and a sentence, a block at a time."""
        beta = tf.constant(self.config.infer.beta if beta is None else beta, tf.float32)
        count, longest = len(image_index), int(token_ids.bounding_shape()[1])
        found = WordGrounding(
            np.full([count, longest], -1, np.int32),
            np.zeros([count, longest], np.float32),
            np.zeros([count, longest, 4], np.float32),
        )
        with progress_bar(count, "align", "sentences") as bar:
            for start in range(0, count, _PAIRS_AT_A_TIME):
                rows = slice(start, start + _PAIRS_AT_A_TIME)
                block = self._ground(
                    *map(tf.convert_to_tensor, read(image_index[rows])),
                    token_ids[rows].to_tensor(PAD_ID),
                    beta=beta,
                )
                for whole, part in zip(found, block, strict=True):
                    whole[rows, : part.shape[1]] = part
                bar.update(len(image_index[rows]))
        return found


def words_as_json(query: Query, grounding: WordGrounding, row: int) -> list[dict[str, Any]]:
    """The regions of the words of a sentence in one image, in JSON's types.

    Args:
        query: The sentence.
        grounding: Regions of the words of B sentences, as NumPy arrays.
        row: Position of the sentence among the B.

    Returns:
        Each word with its region, box, the centre of the box as "point" (y, x), and score, and with
        "known", whether it is in the vocabulary.
    """
    regions, scores, boxes = (part[row, : len(query.words)] for part in grounding)
    return [
        {
            "word": word,
            "known": int(token_id) != UNK_ID,
            "region": int(region),
            "box": box_as_json(box),
            "point": box_as_json((box[:2] + box[2:]) / 2),
            "score": round(float(score), 4),
        }
        for word, token_id, region, score, box in zip(
            query.words, query.token_ids, regions, scores, boxes, strict=True
        )
    ]
