"""A trained model, ready for images of any kind; `visem_tf.load` returns it."""

import contextlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from visem_tf.config import Config
from visem_tf.images.read import ImageError
from visem_tf.images.sources import ImageSource, as_sources
from visem_tf.regions.extractor import Regions
from visem_tf.regions.given_boxes import GivenBoxes
from visem_tf.regions.search_index import SearchIndex
from visem_tf.report.results import (
    Grounding,
    ImageDescription,
    ImageEmbedding,
    SearchResult,
    SentenceEmbedding,
)
from visem_tf.report.search_results import search_results
from visem_tf.runs.indexing import add_to_index, index_of
from visem_tf.runs.phrase_grounding import ground_sentences
from visem_tf.runs.query import Query, ragged_ids
from visem_tf.runs.ranking import rank_batches, rank_index
from visem_tf.runs.trained_run import TrainedRun
from visem_tf.runs.user_images import Batches, BoxesOf, cached_regions, extract_regions
from visem_tf.runtime.storage import PathLike, as_path
from visem_tf.text import PAD_ID


class LoadedModel:
    """A trained model, whose parts are read at their first use.

    An image is a path, the bytes of a file, a PIL image, or an array [H, W, 3] of uint8 or of
    floats in 0..1. One image gives one result; a list, a folder or an array [B, H, W, 3] gives a
    list of results. Images are read in batches, so that memory does not grow with their number,
    with a progress bar in a terminal.

    Args:
        run: Finished run, or published model.

    Example:
        model = visem_tf.load("runs/f8k")
        model.describe("photo.jpg").caption
    """

    def __init__(self, run: TrainedRun) -> None:
        self.run = run

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.run.run.name

    @property
    def config(self) -> Config:
        """Configuration in use: the recorded one, or the one passed to `load`."""
        return self.run.config

    @property
    def card(self) -> dict[str, Any]:
        """Data, versions and figures of the model, in JSON's types."""
        return self.run.run.card

    def __repr__(self) -> str:
        return f"LoadedModel({self.name!r})"

    def describe(self, images: Any, *, boxes: Any = None, beam_size: int | None = None) -> Any:
        """Describes images and their regions.

        Args:
            images: An image, or a list of images.
            boxes: Boxes to describe instead of proposed ones, float [N, 4], `rel_yxyx`; for a list
                of images, a list of such arrays.
            beam_size: Number of beams; None is as configured.

        Returns:
            An `ImageDescription`, or a list of them.

        Raises:
            ValueError: An argument has another type or shape.
            UserError: An image cannot be read, a box has no area inside its image, or the model has
                no generator of captions.
        """
        sources, is_list = as_sources(images)
        boxes_of = None if boxes is None else _boxes_of(sources, boxes if is_list else [boxes])
        if beam_size is not None:
            self.config.generate.updated({"beam_size": beam_size})  # raises an error if invalid
        found: list[ImageDescription] = []
        with contextlib.closing(self.batches(sources, boxes_of=boxes_of)) as batches:
            for batch, regions in batches:
                found += self.describe_batch(batch, regions, beam_size)
        return found if is_list else found[0]

    def ground(self, images: Any, sentences: Any, phrases: Any = None) -> Any:
        """Finds the words of sentences in images.

        Args:
            images: An image, or a list of images.
            sentences: A sentence, or a list of sentences, for one image; for a list of images, a
                list with a sentence or a list of sentences for each image.
            phrases: For each sentence a list of parts of it, as text, in lists like those of
                `sentences`; None asks for words and segments only.

        Returns:
            A `Grounding` for each sentence, in lists like those of `sentences`.

        Raises:
            ValueError: An argument has another type, or lists have different lengths.
            UserError: An image cannot be read, a sentence has no known word, a phrase is not a part
                of its sentence, or the model has no alignment model.
        """
        sources, is_list = as_sources(images)
        if not is_list:
            sentences, phrases = [sentences], [phrases]
        elif phrases is None:
            phrases = [None] * len(sources)
        if isinstance(sentences, str) or not len(sources) == len(sentences) == len(phrases):
            raise ValueError(
                f"sentences and phrases must be lists with an entry for each of the {len(sources)} "
                "images"
            )
        queries = {
            source: self._read(*each)
            for source, *each in zip(sources, sentences, phrases, strict=True)
        }
        grounded: list[list[Grounding]] = []
        with contextlib.closing(self.batches(sources)) as batches:
            for batch, regions in batches:
                grounded += self.ground_batch(batch, regions, [queries[each] for each in batch])
        found = [
            of_image[0] if isinstance(text, str) else of_image
            for of_image, text in zip(grounded, sentences, strict=True)
        ]
        return found if is_list else found[0]

    def search(
        self,
        sentence: Any,
        images: Any = None,
        top: int = 10,
        *,
        cache_dir: PathLike | None = None,
        index: PathLike | None = None,
        candidates: int | None = None,
    ) -> Any:
        """Ranks images by a sentence.

        Args:
            sentence: What to search for, or a list of sentences.
            images: A list of images, or a folder; None for all images of `index`.
            top: Number of images to return.
            cache_dir: Folder in which the regions of image files are kept, so that the next search
                takes seconds; None keeps none.
            index: Folder of an index, see `add_to_index`, in place of `images`.
            candidates: Number of images of the index that are scored exactly, at least `top`; None
                is 1,000, or `top` if that is more.

        Returns:
            A `SearchResult`, or a list of them.

        Raises:
            ValueError: An argument has another type or shape, there is no sentence, `top` is less
                than 1, `candidates` is less than `top`, or both or neither of `images` and `index`
                are given.
            UserError: An image cannot be read, a sentence has no known word, or the index is
                missing, damaged or of another model.
        """
        if (images is None) == (index is None):
            raise ValueError("give images or index, and not both")
        sources = [] if images is None else as_sources(images)[0]
        if top < 1:
            raise ValueError(f"top must be at least 1, not {top}")
        if candidates is not None and candidates < top:
            raise ValueError(f"candidates must be at least top ({top}), not {candidates}")
        is_one = isinstance(sentence, str)
        queries = [self.run.grounder.read(text) for text in ([sentence] if is_one else sentence)]
        if not queries:
            raise ValueError("sentence is an empty list; give at least one")
        if index is not None:
            found = self.rank_index(queries, index_of(self.run, index), top, candidates)
        elif cache_dir is None or any(source.path is None for source in sources):
            found = self.rank(queries, self.batches(sources), top)
        else:
            found = self.rank(queries, cached_regions(self.run, sources, None, cache_dir), top)
        return found[0] if is_one else found

    def add_to_index(self, index: PathLike, images: Any) -> int:
        """Adds image files to an index, for searches over more images than fit into memory.

        Images that the index has already are not read again; a changed file replaces its earlier
        version. An interrupted call is continued by the next one.

        Args:
            index: Folder of the index on any storage, which need not exist.
            images: Path of an image or folder, or a list of paths of images.

        Returns:
            Number of images that were added.

        Raises:
            ValueError: An image is not a file.
            UserError: An image cannot be read, or the folder has other files or is the index of
                another model.
        """
        sources, _ = as_sources(images)
        if any(source.path is None for source in sources):
            raise ValueError("images of an index must be paths of files")
        return add_to_index(self.run, index, sources)[1]

    def embed_images(self, images: Any) -> Any:
        """Computes the vectors of the regions of images.

        Args:
            images: An image, or a list of images.

        Returns:
            An `ImageEmbedding`, or a list of them.

        Raises:
            ValueError: An image has another type or shape.
            UserError: An image cannot be read, or the model has no alignment model.
        """
        sources, is_list = as_sources(images)
        found: list[ImageEmbedding] = []
        with contextlib.closing(self.batches(sources)) as batches:
            for _, regions in batches:
                embeddings = self.run.word_grounder.embed(regions.region_features)
                found += [
                    ImageEmbedding(embeddings[row, real], regions.boxes[row, real])
                    for row, real in enumerate(regions.region_mask)
                ]
        return found if is_list else found[0]

    def embed_sentences(self, sentences: Any) -> Any:
        """Computes the vectors of the words of sentences.

        Args:
            sentences: A sentence, or a list of sentences.

        Returns:
            A `SentenceEmbedding`, or a list of them.

        Raises:
            ValueError: There is no sentence.
            UserError: A sentence has no known word, or the model has no alignment model.
        """
        is_one = isinstance(sentences, str)
        grounder = self.run.word_grounder
        queries = [grounder.read(text) for text in ([sentences] if is_one else sentences)]
        if not queries:
            raise ValueError("sentences is empty; give at least one")
        words = ragged_ids(queries)
        embeddings = grounder.scorer.encode_sentences(words.to_tensor(PAD_ID)).numpy()
        found = [
            SentenceEmbedding(each[: len(query.words)], tuple(query.words))
            for each, query in zip(embeddings, queries, strict=True)
        ]
        return found[0] if is_one else found

    def batches(
        self,
        sources: Sequence[ImageSource],
        failures: list[ImageError] | None = None,
        boxes_of: BoxesOf | None = None,
    ) -> Batches:
        """Yields batches of images with their regions; see `extract_regions`."""
        return extract_regions(self.run, sources, failures, boxes_of)

    def describe_batch(
        self,
        sources: Sequence[ImageSource],
        regions: Regions,
        beam_size: int | None = None,
        captions: Sequence[str] | None = None,
    ) -> list[ImageDescription]:
        """Describes a batch of images, see `batches` and `TrainedRun.describe`."""
        described = self.run.describe(regions, beam_size, captions)
        return [ImageDescription(*each) for each in zip(sources, described, strict=True)]

    def ground_batch(
        self, sources: Sequence[ImageSource], regions: Regions, queries: Sequence[Sequence[Query]]
    ) -> list[list[Grounding]]:
        """Finds the words of sentences in a batch of images, see `batches`.

        Args:
            sources: The B images.
            regions: Regions of the images, as of `batches`.
            queries: Sentences for each image.

        Returns:
            A `Grounding` for each sentence, in lists like those of `queries`.
        """
        rows = [row for row, of_image in enumerate(queries) for _ in of_image]
        flat = [query for of_image in queries for query in of_image]
        grounder = self.run.grounder
        embeddings = grounder.embed(regions.region_features)
        scores = grounder.scores(embeddings, regions.region_mask, flat)
        found = ground_sentences(
            self.run.phrase_grounder, flat, rows, regions, embeddings=embeddings
        )
        groundings = (
            Grounding(
                sources[row],
                {"sentence": query.text, "score": round(float(scores[row, number]), 4), **places},
            )
            for number, (row, query, places) in enumerate(zip(rows, flat, found, strict=True))
        )
        return [[next(groundings) for _ in of_image] for of_image in queries]

    def rank(self, queries: Sequence[Query], batches: Batches, top: int) -> list[SearchResult]:
        """Ranks images by sentences.

        Args:
            queries: N sentences.
            batches: Batches of images, see `batches`. Only the regions of the best are kept.
            top: Number of images to return for each sentence.
        """
        ranked, searched = rank_batches(self.run.grounder, queries, batches, top)
        return search_results(self.run.phrase_grounder, queries, ranked, searched)

    def rank_index(
        self, queries: Sequence[Query], index: SearchIndex, top: int, candidates: int | None
    ) -> list[SearchResult]:
        """Ranks the images of an index by sentences; see `visem_tf.runs.ranking.rank_index`."""
        ranked = rank_index(self.run.grounder, queries, index, top, candidates)
        return search_results(self.run.phrase_grounder, queries, ranked, len(index))

    def _read(self, sentences: Any, phrases: Any) -> list[Query]:
        """Reads the sentences of an image, and the phrases of each that are asked for."""
        if isinstance(sentences, str):
            sentences, phrases = [sentences], None if phrases is None else [phrases]
        if not len(sentences):
            raise ValueError("sentences is empty; give at least one for each image")
        phrases = [None] * len(sentences) if phrases is None else phrases
        if len(phrases) != len(sentences) or any(isinstance(each, str) for each in phrases):
            raise ValueError("phrases must have a list of texts for each sentence")
        return list(map(self.run.grounder.read, sentences, phrases))


def _boxes_of(sources: Sequence[ImageSource], boxes: Any) -> BoxesOf:
    """The function that returns the boxes that were given for each image."""
    if len(boxes) != len(sources):
        raise ValueError(f"boxes has {len(boxes)} entries for {len(sources)} images")
    given = {}
    for source, of_image in zip(sources, boxes, strict=True):
        array = np.asarray(of_image, np.float64)
        if array.ndim != 2 or array.shape[1] != 4:
            raise ValueError(f"boxes must be arrays [N, 4], not of shape {list(array.shape)}")
        given[source] = GivenBoxes({"": array.tolist()}, "rel_yxyx", "boxes")
    return lambda source, size: given[source].of(as_path(source.name), size)
