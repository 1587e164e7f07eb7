"""From phrases of sentences to boxes and points, for every caller.

The one place that applies `visem_tf.alignment.phrases` to the model of a run: stages, commands, the
demo, the report and the export.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from visem_tf.alignment.overlaps import expected_overlaps
from visem_tf.alignment.phrases import (
    PhraseEvidence,
    PhraseGrounding,
    Readout,
    content_words,
    ground_phrases,
    mean_over_words,
    overlaps_with_others,
    phrase_vectors,
    region_probabilities,
)
from visem_tf.alignment.plurals import name_several
from visem_tf.alignment.scores import as_compared, unit_vectors, word_region_similarities
from visem_tf.alignment.segments import box_as_json, find_segments, snippet_as_json
from visem_tf.config import Config
from visem_tf.config.registry import PROBABILITY_PROPOSERS
from visem_tf.datasets import PRECOMPUTED
from visem_tf.regions.dataset_cache import FeatureCache
from visem_tf.regions.extractor import Regions
from visem_tf.runs.grounding import Grounder, words_as_json
from visem_tf.runs.query import Query, ragged_ids
from visem_tf.runtime.progress import progress_bar
from visem_tf.text import PAD_ID, UNK_ID

PHRASES_AT_A_TIME = 200
"""Phrases that are grounded together."""


class PhraseSpans(NamedTuple):
    """N phrases: parts of sentences, each with an image.

    Attributes:
        sentence: Position of the sentence of every phrase, int [N].
        image: Position of its image, int [N].
        first: Index of its first word in the sentence, int [N].
        last: Index of its last word, inclusive, int [N].
    """

    sentence: np.ndarray
    image: np.ndarray
    first: np.ndarray
    last: np.ndarray


def configured_readout(config: Config) -> Readout:
    """Returns the read-out of a configuration.

    `proposer_weight` is 0 if the proposer's scores are not probabilities.
    """
    settings = config.infer
    are_probabilities = (
        config.dataset_name != PRECOMPUTED and config.regions.proposer in PROBABILITY_PROPOSERS
    )
    return Readout(
        name=settings.readout,
        box_scale=settings.box_scale,
        proposer_weight=settings.proposer_weight if are_probabilities else 0.0,
        frame_penalty=settings.frame_penalty,
        overlap_penalty=settings.overlap_penalty,
        point_scale=settings.point_scale,
        heat_map=settings.heat_map,
        unit_phrases=settings.unit_phrases,
        two_regions=settings.two_regions,
    )


class PhraseGrounder:
    """Finds the boxes and points of phrases.

    Args:
        grounder: Grounder of the run.
        readout: How they are found; None is as configured.
    """

    def __init__(self, grounder: Grounder, readout: Readout | None = None) -> None:
        self.grounder = grounder
        self.readout = configured_readout(grounder.config) if readout is None else readout
        self._ground = tf.function(self.ground_spans, reduce_retracing=True)

    def ground_spans(
        self,
        region_embeddings: tf.Tensor,
        regions: Regions,
        token_ids: tf.Tensor,
        spans: PhraseSpans,
    ) -> PhraseGrounding:
        """Finds the boxes and points of N phrases, in graph.

        Args:
            region_embeddings: Output of `model.encode_regions`, float [B, R, D].
            regions: Regions of the B images; their features are not used.
            token_ids: Words of the S sentences, int32 [S, T], `PAD_ID` after the last word.
            spans: The phrases.
        """
        grounder, model = self.grounder, self.grounder.model
        word_embeddings = as_compared(model.encode_sentences(token_ids), model.score)
        embeddings = tf.gather(region_embeddings, spans.image)
        boxes, mask = (tf.gather(p, spans.image) for p in (regions.boxes, regions.region_mask))
        word_embeddings = tf.gather(word_embeddings, spans.sentence)
        similarities = word_region_similarities(
            embeddings, word_embeddings, mask, score=model.score
        )
        words = tf.gather(token_ids, spans.sentence)
        position = tf.range(tf.shape(words)[1])
        inside = tf.not_equal(words, PAD_ID) & (position >= spans.first[:, tf.newaxis])
        inside &= position <= spans.last[:, tf.newaxis]
        chosen = None
        if self.readout.name == "mrf":
            chosen = grounder.ground_words(embeddings, mask, boxes, words).regions
        is_function = tf.gather(grounder.is_function, words)
        content = content_words(inside, is_function)
        evidence = PhraseEvidence(
            similarities,
            inside,
            content,
            chosen,
            boxes,
            tf.gather(regions.scores, spans.image),
            mask,
            tf.norm(mean_over_words(word_embeddings, content), axis=1),
        )
        if self.readout.name == "phrase" and self.readout.overlap_penalty:
            of_sentence = (words > UNK_ID) & ~is_function
            overlaps = self._overlaps_with_others(
                evidence, embeddings, word_embeddings, of_sentence
            )
            evidence = evidence._replace(overlaps=overlaps)
        if self.readout.name == "phrase" and self.readout.two_regions:
            several = name_several(words, inside, grounder.word_numbers)
            evidence = evidence._replace(several=several)
        return ground_phrases(evidence, self.readout)

    def _overlaps_with_others(
        self,
        evidence: PhraseEvidence,
        region_embeddings: tf.Tensor,
        word_embeddings: tf.Tensor,
        content: tf.Tensor,
    ) -> tf.Tensor:
        """Computes the overlaps [N, R] of regions with the other phrases of N sentences.

        Args:
            evidence: What is known about N phrases.
            region_embeddings: Float tensor [N, R, D].
            word_embeddings: s_t, as they are compared, float tensor [N, T, D].
            content: Boolean tensor [N, T], True for the words of the sentences that name something.
        """
        vectors = phrase_vectors(word_embeddings, content)
        if self.readout.unit_phrases:
            vectors = unit_vectors(vectors)
        compared = as_compared(region_embeddings, self.grounder.model.score)
        means = tf.matmul(vectors, compared, transpose_b=True)
        scores, mask = evidence.region_scores[:, tf.newaxis], evidence.region_mask[:, tf.newaxis]
        weights = region_probabilities(means, scores, mask, self.readout)
        expected = expected_overlaps(weights, evidence.boxes)
        return overlaps_with_others(expected, content, evidence.words[:, tf.newaxis])[:, 0]

    def __call__(
        self,
        embeddings: np.ndarray,
        regions: Regions,
        token_ids: tf.RaggedTensor,
        spans: PhraseSpans,
    ) -> PhraseGrounding:
        """Grounds phrases in images whose regions are in memory.

        Args:
            embeddings: Region embeddings of B images, float [B, R, D].
            regions: Regions of the images; their features are not used.
            token_ids: Words of S sentences, int32 [S, (T)].
            spans: N phrases.

        Returns:
            The places of the phrases, as NumPy arrays.
        """
        regions = regions._replace(region_features=regions.region_features[..., :0])
        return self._in_blocks(
            lambda images: (embeddings[images], Regions(*(part[images] for part in regions))),
            token_ids,
            spans,
        )

    def of_split(
        self, cache: FeatureCache, token_ids: tf.RaggedTensor, spans: PhraseSpans
    ) -> PhraseGrounding:
        """Grounds phrases in the images of a split; see `__call__`.

        Args:
            cache: Regions of the split.
            token_ids: Words of the sentences of the split, int32 [S, (T)].
            spans: N phrases. Those of an image should follow each other.
        """

        def read(images: np.ndarray) -> tuple[Any, Regions]:
            regions = cache.gather(images)
            embeddings = self.grounder.scorer.encode_regions(tf.constant(regions.region_features))
            return embeddings, regions._replace(region_features=regions.region_features[..., :0])

        return self._in_blocks(read, token_ids, spans)

    def _in_blocks(
        self,
        read: Callable[[np.ndarray], tuple[Any, Regions]],
        token_ids: tf.RaggedTensor,
        spans: PhraseSpans,
    ) -> PhraseGrounding:
        """Grounds a block of phrases at a time, with each of its images and sentences once."""
        parts = []
        with progress_bar(len(spans.first), "ground", "phrases") as bar:
            for start in range(0, max(1, len(spans.first)), PHRASES_AT_A_TIME):
                rows = slice(start, start + PHRASES_AT_A_TIME)
                block = PhraseSpans(*(np.asarray(part[rows], np.int32) for part in spans))
                images, image = np.unique(block.image, return_inverse=True)
                sentences, sentence = np.unique(block.sentence, return_inverse=True)
                if not len(images):  # no phrase at all
                    images, sentences = np.zeros([2, 1], np.int32)
                embeddings, regions = read(images)
                own = block._replace(sentence=sentence, image=image)
                found = self._ground(
                    tf.convert_to_tensor(embeddings),
                    Regions(*map(tf.convert_to_tensor, regions)),
                    tf.gather(token_ids, sentences).to_tensor(PAD_ID),
                    PhraseSpans(*(tf.constant(part, tf.int32) for part in own)),
                )
                parts.append([np.asarray(part) for part in found])
                bar.update(len(block.first))
        return PhraseGrounding(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def ground_sentences(
    phrase_grounder: PhraseGrounder,
    queries: Sequence[Query],
    image: Sequence[int] | np.ndarray,
    regions: Regions,
    embeddings: np.ndarray | None = None,
) -> list[dict[str, Any]]:
    """Grounds sentences in images, in JSON's types.

    Args:
        phrase_grounder: Grounder of phrases.
        queries: S sentences.
        image: Position of the image of every sentence.
        regions: Regions of B images, as NumPy arrays.
        embeddings: Region embeddings of the images, float [B, R, D], if they are known already; the
            features of the regions are not used then.

    Returns:
        For each sentence:

        - "words": each with its region by the MRF, box, point and score, and with "known", whether
          it is in the vocabulary.
        - "segments": neighbouring words with one region, each as a phrase.
        - "phrases": those of the query, if it has any, each with "text", "first", "last", "region",
          "box", "point" (y, x) and "score", the mean v_i · s_t of the words that count.
    """
    image, grounder = np.asarray(image, np.int64), phrase_grounder.grounder
    if embeddings is None:
        embeddings = grounder.embed(regions.region_features)
    found = grounder.ground(
        embeddings[image], regions.region_mask[image], regions.boxes[image], queries
    )
    sentence, first, last, _ = find_segments(found.regions)
    asked = [
        (number, *phrase) for number, query in enumerate(queries) for phrase in query.phrases or ()
    ]
    rows = np.array([*zip(sentence, first, last, strict=True), *asked], np.int32).reshape(-1, 3)
    token_ids = ragged_ids(queries)
    spans = PhraseSpans(rows[:, 0], image[rows[:, 0]], rows[:, 1], rows[:, 2])
    places = phrase_grounder(embeddings, regions, token_ids, spans)
    results: list[dict[str, Any]] = [
        {
            "words": words_as_json(query, found, row),
            "segments": [],
            **({} if query.phrases is None else {"phrases": []}),
        }
        for row, query in enumerate(queries)
    ]
    for row, (number, a, b) in enumerate(rows.tolist()):
        box, point, score, region, *_ = (part[row] for part in places)
        place = snippet_as_json(queries[number].words, a, b, region, box, score)
        place["point"] = box_as_json(point)
        results[number]["segments" if row < len(sentence) else "phrases"].append(place)
    return results
