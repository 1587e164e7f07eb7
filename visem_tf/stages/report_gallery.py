"""The images of the report: which ones, their sentences, and the texts of their regions."""

import io
import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from PIL import Image

from visem_tf.alignment.segments import find_segments
from visem_tf.datasets.caption_dataset import Split
from visem_tf.decoding.captioner import Captioner, word_attention
from visem_tf.metrics.grounding import true_phrases
from visem_tf.metrics.ranking import ranks
from visem_tf.regions.dataset_cache import FeatureCache
from visem_tf.regions.extractor import Regions
from visem_tf.report.drawing import as_jpeg
from visem_tf.report.gallery import (
    GalleryImage,
    align_image,
    attended_caption,
    choose_images,
)
from visem_tf.report.marked_phrases import MarkedPhrase, mark_phrases
from visem_tf.runs.checkpoints import load_generator
from visem_tf.runs.context import Context
from visem_tf.runs.grounding import Grounder
from visem_tf.runs.phrase_grounding import PhraseGrounder, Spans
from visem_tf.runs.scoring import sentence_token_ids
from visem_tf.text import PAD_ID, Vocabulary, tokenize

_SENTENCES_PER_IMAGE = 2
_PAIRS_PER_BATCH = 200
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
    grounder: Grounder,
    split: Split,
    cache: FeatureCache,
    captions: dict[str, str],
) -> Gallery:
    """Chooses images, aligns their sentences, and describes their regions.

    Args:
        context: Context of the run.
        grounder: Aligns words and regions.
        split: Split to choose from; its images are read once.
        cache: Regions of the split.
        captions: Generated captions by image id.
    """
    config = context.config
    token_ids = sentence_token_ids(grounder.vocabulary, split.sentences, config.text.max_words)
    annotation, search = ranks(grounder.scorer(cache, token_ids), split.image_index)
    chosen = choose_images(annotation, config.report.pictures, config.seed)
    positions = np.unique(split.image_index)[[position for position, _ in chosen]]
    rows = [
        np.flatnonzero(split.image_index == position)[:_SENTENCES_PER_IMAGE]
        for position in positions
    ]
    regions = cache.gather(positions)
    aligned = _align(grounder, cache, token_ids, split, rows)
    descriptions = _describe_regions(context, grounder, regions)
    marked = _mark_phrases(grounder, cache, token_ids, split, rows)
    written = [captions.get(split.image_ids[position]) for position in positions]
    attention = _attention(context, grounder.vocabulary, written, regions)
    jpegs, references = _small_images(split, positions), split.references()
    images = []
    for n, (position, (queried, group)) in enumerate(zip(positions.tolist(), chosen, strict=True)):
        boxes = regions.boxes[n]
        words, word_regions, similarities = aligned[n]
        texts, quality = (None, None) if descriptions is None else descriptions[n]
        numbered, sentences = align_image(
            words, word_regions, search[rows[n]].tolist(), boxes, texts, quality, similarities
        )
        attended = None
        if attention is not None:
            attended = attended_caption(written[n] or "", attention[n], boxes)
        images.append(
            GalleryImage(
                split.file_names[position],
                group,
                int(annotation[queried]),
                *jpegs[position],
                numbered,
                sentences,
                written[n],
                references[split.image_ids[position]],
                attended,
                marked[n],
            )
        )
    absences = []
    if descriptions is None:
        absences.append("Descriptions of regions: the region generator has not been trained.")
    return Gallery(images, regions, absences)


def make_caption_gallery(
    context: Context,
    vocabulary: Vocabulary,
    split: Split,
    cache: FeatureCache,
    captions: dict[str, str],
) -> Gallery:
    """Chooses random images with their captions, for a run without an alignment.

    Args:
        context: Context of the run.
        vocabulary: Words of the run.
        split: Split to choose from; its images are read once.
        cache: Regions of the split.
        captions: Generated captions by image id.
    """
    described = np.random.default_rng(context.config.seed).permutation(np.unique(split.image_index))
    positions = np.sort(described[: context.config.report.pictures])
    regions = cache.gather(positions)
    written = [captions.get(split.image_ids[position]) for position in positions]
    attention = _attention(context, vocabulary, written, regions)
    jpegs, references = _small_images(split, positions), split.references()
    images = [
        GalleryImage(
            split.file_names[position],
            "random",
            None,
            *jpegs[position],
            [],
            [],
            caption,
            references[split.image_ids[position]],
            None
            if attention is None
            else attended_caption(caption or "", attention[n], regions.boxes[n]),
        )
        for n, (position, caption) in enumerate(zip(positions.tolist(), written, strict=True))
    ]
    return Gallery(images, regions, ["Sentences with their boxes: the alignment was not trained."])


def _align(
    grounder: Grounder,
    cache: FeatureCache,
    token_ids: tf.RaggedTensor,
    split: Split,
    rows: Sequence[np.ndarray],
) -> list[tuple[list[list[str]], np.ndarray, np.ndarray]]:
    """Aligns some sentences of each image.

    Returns:
        For each image the words of its sentences, the regions of the segments of the words
        [N, T], and the scores of the words with all regions [N, T, R].
    """
    flat = np.concatenate(rows)
    token_ids, image_index = tf.gather(token_ids, flat), split.image_index[flat]
    word_regions = grounder.ground_split(cache, token_ids, image_index).regions
    sentence, first, last, _ = find_segments(word_regions)
    spans = Spans(sentence, image_index[sentence], first, last)
    chosen = PhraseGrounder(grounder).of_split(cache, token_ids, spans).regions
    word_regions[word_regions >= 0] = np.repeat(chosen, last - first + 1)
    padded, scores = token_ids.to_tensor(PAD_ID), []
    for start in range(0, len(flat), _PAIRS_PER_BATCH):
        batch = slice(start, start + _PAIRS_PER_BATCH)
        regions = cache.gather(image_index[batch])
        inputs = {
            "region_features": tf.constant(regions.region_features),
            "region_mask": tf.constant(regions.region_mask),
            "token_ids": padded[batch],
        }
        scores.append(grounder.model.word_region_similarities(inputs).numpy())
    similarities = np.concatenate(scores)
    words = tokenize(tf.constant([split.sentences[row] for row in flat]))
    texts = [
        [word.decode() for word in sentence]
        for sentence in words[:, : grounder.config.text.max_words].to_list()
    ]
    bounds = np.cumsum([0, *map(len, rows)])
    return [
        (texts[start:stop], word_regions[start:stop], similarities[start:stop])
        for start, stop in itertools.pairwise(bounds)
    ]


def _mark_phrases(
    grounder: Grounder,
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
    spans = Spans(truth.sentence_index, image, truth.first, truth.last)
    found = mark_phrases(truth, PhraseGrounder(grounder).of_split(cache, token_ids, spans))
    return [
        [found[place] for place in np.flatnonzero(np.isin(truth.sentence_index, of_image))]
        for of_image in rows
    ]


def _describe_regions(
    context: Context, grounder: Grounder, regions: Regions
) -> list[tuple[list[str], np.ndarray]] | None:
    """Describes the regions of P images.

    Returns:
        For each image R texts, and how well each fits its region, float [R], minus infinity for
        padded regions; None without a region-level generator.
    """
    generator = load_generator(context, "regions")
    if generator is None:
        return None
    features = np.asarray(regions.region_features)
    count = features.shape[1]
    beam_size = context.config.evaluate.beam_size
    captioner = Captioner(generator, grounder.vocabulary, context.config.generate, beam_size)
    texts, _ = captioner(features.reshape(-1, features.shape[2]))
    fits = np.where(regions.region_mask, grounder.fits(features, texts), -np.inf)
    return [(texts[n * count : (n + 1) * count], fit) for n, fit in enumerate(fits)]


def _attention(
    context: Context, vocabulary: Vocabulary, captions: Sequence[str | None], regions: Regions
) -> list[np.ndarray] | None:
    """Computes the attention weights of the full-frame generator, see `word_attention`."""
    generator = load_generator(context, "full_frame") if any(captions) else None
    if generator is None:
        return None
    texts = [caption or "" for caption in captions]
    features, mask = regions.region_features, regions.region_mask
    return word_attention(generator, vocabulary, texts, features, mask)


def _small_images(split: Split, positions: np.ndarray) -> dict[int, tuple[bytes, tuple[int, int]]]:
    """Reads images and reduces their size; returns JPEG and size by position."""
    small = {}
    for position, encoded in split.pictures_at(positions):
        image = Image.open(io.BytesIO(encoded))
        image.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
        small[position] = as_jpeg(image.convert("RGB"), quality=80), image.size
    return small
