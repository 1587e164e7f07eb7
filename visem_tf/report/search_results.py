"""From ranked images to search results, which show the region of every word."""

from __future__ import annotations

from collections.abc import Sequence

from visem_tf.regions.extractor import Regions
from visem_tf.report.results import FoundImage, SearchResult
from visem_tf.runs.phrase_grounding import PhraseGrounder, ground_sentences
from visem_tf.runs.query import Query
from visem_tf.runs.ranking import Ranked


def search_results(
    grounder: PhraseGrounder, queries: Sequence[Query], ranked: Sequence[Ranked], searched: int
) -> list[SearchResult]:
    """Grounds sentences in their best images.

    Args:
        grounder: Grounder of phrases.
        queries: N sentences.
        ranked: The best images for each sentence; empty if there was no image to rank.
        searched: Number of images that were ranked.
    """
    found = [_ground(grounder, *each) for each in zip(queries, ranked, strict=False)]
    return [
        SearchResult(query.text, tuple(query.unknown), searched, images)
        for query, images in zip(queries, found or [()] * len(queries), strict=True)
    ]


def _ground(grounder: PhraseGrounder, query: Query, ranked: Ranked) -> tuple[FoundImage, ...]:
    embeddings, boxes, scores, mask, _ = ranked.regions
    count = len(ranked.sources)
    places = ground_sentences(
        grounder,
        [query] * count,
        range(count),
        Regions(embeddings[..., :0], boxes, scores, mask),
        embeddings=embeddings,
    )
    images = zip(ranked.sources, ranked.scores, places, strict=True)
    return tuple(
        FoundImage(source, {"sentence": query.text, "score": round(float(score), 4), **place}, rank)
        for rank, (source, score, place) in enumerate(images, start=1)
    )
