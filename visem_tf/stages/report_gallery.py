"""The images of the report: which ones, their sentences, and the texts of their regions."""

import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from PIL import Image

from visem_tf.datasets.caption_dataset import Split
from visem_tf.images.sources import ImageSource
from visem_tf.loaded_model import LoadedModel
from visem_tf.metrics.grounding import true_phrases
from visem_tf.metrics.ranking import ranks
from visem_tf.regions.dataset_cache import FeatureCache
from visem_tf.regions.extractor import Regions
from visem_tf.report.drawing import as_jpeg
from visem_tf.report.gallery import (
    AlignedSentence,
    Box,
    GalleryImage,
    align_image,
    attended_caption,
    choose_images,
)
from visem_tf.report.marked_phrases import MarkedPhrase, mark_phrases
from visem_tf.report.results import ImageDescription
from visem_tf.runs.context import Context
from visem_tf.runs.phrase_grounding import PhraseGrounder, PhraseSpans
from visem_tf.runs.query import split_sentences
from visem_tf.runs.scoring import sentence_token_ids
from visem_tf.runs.trained_run import TrainedRun

_SENTENCES_PER_IMAGE = 2
_LONGEST_SIDE = 400


class Gallery(NamedTuple):
    """The images to show.

    Attributes:
        images: P images with their texts.
        regions: Regions of the P images.
        absences: Sentences that say what is missing, and why.
    """

    images: list[GalleryImage]
    regions: Regions
    absences: list[str]


def make_gallery(
    context: Context,
    model: LoadedModel,
    split: Split,
    cache: FeatureCache,
    captions: dict[str, str],
) -> Gallery:
    """Chooses images, aligns their sentences, and describes their regions.

    Without an alignment model, the images are chosen at random, and have their captions only.

    Args:
        context: Context of the run.
        model: The run.
        split: Split to choose from; its images are read once.
        cache: Regions of the split.
        captions: Generated captions by image id.
    """
    config, run = context.config, model.run
    with_sentences, count = np.unique(split.image_index), config.report.pictures
    if run.has("align"):
        token_ids = sentence_token_ids(run.vocabulary, split.sentences, config.text.max_words)
        annotation, search = ranks(run.grounder.scorer(cache, token_ids), split.image_index)
        chosen = choose_images(annotation, count, config.seed)
    else:
        shuffled = np.random.default_rng(config.seed).permutation(len(with_sentences))
        chosen = [(row, "random") for row in sorted(shuffled[:count].tolist())]
    places = [row for row, _ in chosen]
    positions = with_sentences[places]
    regions = cache.gather(positions)
    small, references = _small_images(split, positions), split.references()
    written = [captions.get(split.image_ids[position]) for position in positions]
    described = model.describe_batch(
        [ImageSource(split.file_names[n], small[n][0]) for n in positions.tolist()],
        regions,
        config.evaluate.beam_size,
        [caption or "" for caption in written],
    )
    own_ranks: list[int | None] = [None] * len(chosen)
    aligned: list[tuple[list[Box], list[AlignedSentence]]] = [([], [])] * len(chosen)
    marked: list[list[MarkedPhrase]] = [[]] * len(chosen)
    absences = []
    if run.has("align"):
        rows = [np.flatnonzero(split.image_index == n)[:_SENTENCES_PER_IMAGE] for n in positions]
        own_ranks = annotation[places].tolist()
        aligned = _align(run, described, regions, split, rows, search)
        marked = _mark_phrases(run.phrase_grounder, cache, token_ids, split, rows)
        if not run.has("generate/regions"):
            absences = ["Descriptions of regions: the region generator has not been trained."]
    else:
        absences = ["Sentences with their boxes: the alignment was not trained."]
    images = []
    for n, (position, (_, group)) in enumerate(zip(positions.tolist(), chosen, strict=True)):
        found, attended = described[n].found, None
        if found.attention is not None:
            attended = attended_caption(found.caption, found.attention, found.boxes)
        images.append(
            GalleryImage(
                split.file_names[position],
                group,
                own_ranks[n],
                *small[position],
                *aligned[n],
                written[n],
                references[split.image_ids[position]],
                attended,
                marked[n],
            )
        )
    return Gallery(images, regions, absences)


def _align(
    run: TrainedRun,
    described: Sequence[ImageDescription],
    regions: Regions,
    split: Split,
    rows: Sequence[np.ndarray],
    sentence_ranks: np.ndarray,
) -> list[tuple[list[Box], list[AlignedSentence]]]:
    """Aligns some sentences of each image with its regions, see `align_image`."""
    texts = [split.sentences[row] for row in np.concatenate(rows)]
    queries = split_sentences(texts, run.vocabulary, run.config.text.max_words)
    bounds = np.cumsum([0, *map(len, rows)])
    image = np.repeat(np.arange(len(rows)), np.diff(bounds))
    embeddings = run.grounder.embed(regions.region_features)[image]
    mask = regions.region_mask[image]
    found = run.grounder.ground(embeddings, mask, regions.boxes[image], queries)
    similarities = run.grounder.similarities(embeddings, mask, queries)
    has_texts = run.has("generate/regions")
    aligned = []
    for n, (each, own) in enumerate(zip(described, map(slice, bounds, bounds[1:]), strict=True)):
        aligned.append(
            align_image(
                [query.words for query in queries[own]],
                found.regions[own],
                sentence_ranks[rows[n]].tolist(),
                regions.boxes[n],
                each.found.region_captions if has_texts else None,
                each.found.region_fits,
                similarities[own],
            )
        )
    return aligned


def _mark_phrases(
    grounder: PhraseGrounder,
    cache: FeatureCache,
    token_ids: tf.RaggedTensor,
    split: Split,
    rows: Sequence[np.ndarray],
) -> list[list[MarkedPhrase]]:
    """Grounds the phrases of some sentences of each image that people drew boxes for."""
    phrases = split.phrases
    if phrases is None or (split.regions is not None and not split.regions.has_boxes):
        return [[] for _ in rows]
    shown = np.isin(phrases.sentence_index, np.concatenate(rows))
    truth = true_phrases(phrases.rows(np.flatnonzero(shown)))
    image = split.image_index[truth.sentence_index]
    spans = PhraseSpans(truth.sentence_index, image, truth.first, truth.last)
    found = mark_phrases(truth, grounder.of_split(cache, token_ids, spans))
    return [
        [found[place] for place in np.flatnonzero(np.isin(truth.sentence_index, of_image))]
        for of_image in rows
    ]


def _small_images(split: Split, positions: np.ndarray) -> dict[int, tuple[bytes, tuple[int, int]]]:
    """Reads images and reduces their size; returns JPEG and size by position."""
    small = {}
    for position, encoded in split.images_at(positions):
        image = Image.open(io.BytesIO(encoded))
        image.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
        small[position] = as_jpeg(image.convert("RGB"), quality=80), image.size
    return small
