"""Ranks images by sentences, from batches of images or from an index."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from visem_tf.alignment.scores import unit_vectors
from visem_tf.alignment.word_scores import get_score
from visem_tf.images.sources import ImageSource, path_sources
from visem_tf.regions.extractor import Regions
from visem_tf.regions.index_shards import EmbeddedRegions
from visem_tf.regions.search_index import SearchIndex
from visem_tf.runs.grounding import Grounder
from visem_tf.runs.query import Query, ragged_ids
from visem_tf.runs.user_images import Batches
from visem_tf.runtime.storage import as_path
from visem_tf.text import PAD_ID

_IMAGES_AT_A_TIME = 256

CANDIDATES = 1000
"""Number of images of an index that are scored exactly, if no other is given."""


class Ranked(NamedTuple):
    """The best images for a sentence, the best first.

    Attributes:
        sources: The K images.
        scores: Scores of the images, see `Grounder.scores`, float32 [K].
        regions: Regions of the K images.
    """

    sources: list[ImageSource]
    scores: np.ndarray
    regions: EmbeddedRegions


def rank_batches(
    grounder: Grounder, queries: Sequence[Query], batches: Batches, top: int
) -> tuple[list[Ranked], int]:
    """Ranks images whose regions come in batches.

    Args:
        grounder: Grounder of the model.
        queries: N sentences.
        batches: Batches of images. Only the regions of the best are kept.
        top: Number of images to return for each sentence.

    Returns:
        The best images for each sentence, and the number of images that were ranked; nothing if it
        is 0.
    """
    sources: list[ImageSource] = []
    scores = np.zeros([0, len(queries)], np.float32)
    best: dict[int, EmbeddedRegions] = {}
    with contextlib.closing(batches):
        for batch, regions in batches:
            embedded = embed_regions(grounder, regions)
            new = _scores(grounder, embedded, queries)
            first = len(sources)
            sources += batch
            scores = np.concatenate([scores, new])
            order = np.argsort(-scores, axis=0, kind="stable")[:top]
            best = {
                # Copies: a view would keep the whole batch in memory.
                image: best[image] if image < first else _row(embedded, image - first)
                for image in np.unique(order).tolist()
            }
    ranked = []
    for column in range(len(queries) if sources else 0):
        order = np.argsort(-scores[:, column], kind="stable")[:top]
        parts = zip(*(best[image] for image in order), strict=True)
        regions_of_best = EmbeddedRegions(*map(np.concatenate, parts))
        ranked.append(Ranked([sources[i] for i in order], scores[order, column], regions_of_best))
    return ranked, len(sources)


def rank_index(
    grounder: Grounder,
    queries: Sequence[Query],
    index: SearchIndex,
    top: int,
    candidates: int | None = None,
) -> list[Ranked]:
    """Ranks the images of an index.

    Args:
        grounder: Grounder of the model of the index.
        queries: N sentences.
        index: The index.
        top: Number of images to return for each sentence.
        candidates: Number of images to score exactly: those whose vectors have the largest products
            with the sum of the words; None is `CANDIDATES`, or `top` if that is more.

    Returns:
        The best images for each sentence; nothing if the index has no image.

    Raises:
        UserError: A shard of the index is damaged.
    """
    if not len(index):
        return []
    count = max(CANDIDATES, top) if candidates is None else candidates
    found = index.candidates(_encode(grounder, queries), count)
    ranked = []
    for query, positions in zip(queries, found, strict=True):
        scores = np.empty(len(positions), np.float32)
        for start in range(0, len(positions), _IMAGES_AT_A_TIME):
            block = slice(start, start + _IMAGES_AT_A_TIME)
            regions = index.gather(positions[block])
            scores[block] = _scores(grounder, regions, [query])[:, 0]
        order = np.argsort(-scores, kind="stable")[:top]
        best = positions[order]
        sources = path_sources(list(map(as_path, index.names(best))))
        ranked.append(Ranked(sources, scores[order], index.gather(best)))
    return ranked


def embed_regions(grounder: Grounder, regions: Regions) -> EmbeddedRegions:
    """Embeds the regions of images; for scores of unit vectors, as unit vectors."""
    embeddings = grounder.embed(regions.region_features)
    if get_score(grounder.model.score).unit:
        embeddings = unit_vectors(tf.constant(embeddings)).numpy()
    mask = regions.region_mask
    hubness = grounder.scorer.image_hubness(tf.constant(embeddings), tf.constant(mask))
    return EmbeddedRegions(embeddings, regions.boxes, regions.scores, mask, hubness)


def _scores(grounder: Grounder, images: EmbeddedRegions, queries: Sequence[Query]) -> np.ndarray:
    return grounder.scores(images.embeddings, images.mask, queries, images.hubness)


def _encode(grounder: Grounder, queries: Sequence[Query]) -> np.ndarray:
    """The sum of the word embeddings of each sentence, float32 [N, D]."""
    token_ids = ragged_ids(queries)
    words = grounder.scorer.encode_sentences(token_ids.to_tensor(PAD_ID))  # 0 in the padding
    if get_score(grounder.model.score).unit:
        words = unit_vectors(words)
    return tf.reduce_sum(words, axis=1).numpy()


def _row(regions: EmbeddedRegions, row: int) -> EmbeddedRegions:
    """A copy of the regions of one image of a batch."""
    return EmbeddedRegions(*(part[row : row + 1].copy() for part in regions))
