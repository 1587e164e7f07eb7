"""The pictures of the report: which ones, and all that is said of them and of their regions."""

import io
import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from PIL import Image

from visem_tf.datasets.caption_dataset import Split
from visem_tf.decoding.captioner import Captioner, word_attention
from visem_tf.metrics.ranking import ranks
from visem_tf.models.alignment_model import AlignmentModel
from visem_tf.regions.dataset_cache import FeatureCache
from visem_tf.regions.extractor import Regions
from visem_tf.report.drawing import as_jpeg
from visem_tf.report.gallery import (
    GalleryPicture,
    align_picture,
    attended_caption,
    choose_pictures,
)
from visem_tf.runs.checkpoints import load_generator
from visem_tf.runs.context import Context
from visem_tf.runs.grounding import Grounder
from visem_tf.runs.scoring import Scorer, sentence_token_ids
from visem_tf.text import PAD_ID, Vocabulary, tokenize

_SENTENCES_OF_A_PICTURE = 2
_SENTENCES_AT_A_TIME = 200
_LONGEST_SIDE = 400


class _Descriptions(NamedTuple):
    """What the region-level generator says of the regions of P pictures.

    Attributes:
      texts: P lists of R texts.
      worth: float [P, R], how well each text fits its region: v_i . s_t, summed over its words.
    """

    texts: list[list[str]]
    worth: np.ndarray


class Gallery(NamedTuple):
    """The pictures to show.

    Attributes:
      pictures: P of them, with all that is said of them.
      regions: Of the P pictures.
    """

    pictures: list[GalleryPicture]
    regions: Regions


def make_gallery(
    context: Context,
    split: Split,
    cache: FeatureCache,
    model: AlignmentModel,
    vocabulary: Vocabulary,
    captions: dict[str, str],
    absences: list[str],
) -> Gallery:
    """Chooses pictures and gathers what people wrote of them, and what the models make of them.

    Args:
      context: Of the run.
      split: Its pictures are read once.
      cache: Their regions.
      model: Aligns.
      vocabulary: The words.
      captions: Generated ones, by image id.
      absences: Is given why something is missing.
    """
    config = context.config
    token_ids = sentence_token_ids(vocabulary, split.sentences, config.text.max_words)
    annotation, search = ranks(Scorer(model)(cache, token_ids), split.image_index)
    with_sentences = np.unique(split.image_index)
    chosen = choose_pictures(annotation, config.report.pictures, config.seed)
    positions = with_sentences[[position for position, _ in chosen]]
    regions = cache.gather(positions)
    grounder = Grounder(model, vocabulary, config)
    described = _describe(context, grounder, vocabulary, regions.region_features)
    if described is None:
        absences.append("Descriptions of regions: the region generator has not been trained.")
    jpegs = _small_pictures(split, positions)
    references = split.references()
    rows = [
        np.flatnonzero(split.image_index == position)[:_SENTENCES_OF_A_PICTURE]
        for position in positions
    ]
    aligned = _align(context, grounder, cache, token_ids, split, rows)
    written = [captions.get(split.image_ids[position]) for position in positions]
    looked = _looked(context, vocabulary, written, regions)
    pictures = []
    for number, (position, group) in enumerate(chosen):
        image_id = split.image_ids[positions[number]]
        tokens, word_regions, similarities = aligned[number]
        boxes, sentences = align_picture(
            tokens,
            word_regions,
            search[rows[number]].tolist(),
            regions.boxes[number],
            None if described is None else described.texts[number],
            None
            if described is None
            else np.where(regions.region_mask[number], described.worth[number], -np.inf),
            similarities,
        )
        jpeg, size = jpegs[number]
        pictures.append(
            GalleryPicture(
                split.file_names[positions[number]],
                group,
                int(annotation[position]),
                jpeg,
                size,
                boxes,
                sentences,
                written[number],
                references[image_id],
                None
                if looked is None
                else attended_caption(written[number] or "", looked[number], regions.boxes[number]),
            )
        )
    return Gallery(pictures, regions)


def _looked(
    context: Context, vocabulary: Vocabulary, captions: Sequence[str | None], regions: Regions
) -> list[np.ndarray] | None:
    """What the full-frame generator looked at for every word of P captions; None if at nothing.

    Returns:
      P arrays float [words, R], in which a word's weights sum to 1.
    """
    if not any(captions):
        return None
    generator = load_generator(context, "full_frame")
    if generator is None:
        return None
    texts = [caption or "" for caption in captions]
    return word_attention(
        generator, vocabulary, texts, regions.region_features, regions.region_mask
    )


def _align(
    context: Context,
    grounder: Grounder,
    cache: FeatureCache,
    token_ids: tf.RaggedTensor,
    split: Split,
    rows: Sequence[np.ndarray],
) -> list[tuple[list[list[str]], np.ndarray, np.ndarray]]:
    """Of some sentences of each picture: the words, their regions, and their scores with all."""
    flat = np.concatenate(rows)
    chosen, image_index = tf.gather(token_ids, flat), split.image_index[flat]
    found = grounder.ground_split(cache, chosen, image_index)
    similarities = _similarities(grounder.model, cache, chosen, image_index)
    words = tokenize(tf.constant([split.sentences[row] for row in flat]))
    tokens = words[:, : context.config.text.max_words].to_list()
    text = [[word.decode() for word in sentence] for sentence in tokens]
    bounds = np.cumsum([0, *(len(of_picture) for of_picture in rows)])
    return [
        (text[start:stop], found.regions[start:stop], similarities[start:stop])
        for start, stop in itertools.pairwise(bounds)
    ]


def _similarities(
    model: AlignmentModel, cache: FeatureCache, token_ids: tf.RaggedTensor, images: np.ndarray
) -> np.ndarray:
    """v_i . s_t of S sentences with the regions of their pictures, float32 [S, T, R]."""
    padded = token_ids.to_tensor(PAD_ID)
    blocks = []
    for start in range(0, len(images), _SENTENCES_AT_A_TIME):
        regions = cache.gather(images[start : start + _SENTENCES_AT_A_TIME])
        block = model.word_region_similarities(
            {
                "region_features": tf.constant(regions.region_features),
                "region_mask": tf.constant(regions.region_mask),
                "token_ids": padded[start : start + _SENTENCES_AT_A_TIME],
            }
        )
        blocks.append(block.numpy())
    return np.concatenate(blocks)


def _describe(
    context: Context,
    grounder: Grounder,
    vocabulary: Vocabulary,
    region_features: np.ndarray,
) -> _Descriptions | None:
    """Describes regions [P, R, F]; None if nothing was trained to."""
    generator = load_generator(context, "regions")
    if generator is None:
        return None
    _, num_regions, feature_dim = region_features.shape
    beam_size = context.config.evaluate.beam_size
    captioner = Captioner(generator, vocabulary, context.config.generate, beam_size)
    texts, _ = captioner(region_features.reshape(-1, feature_dim))
    worth = grounder.fits(region_features, texts)
    by_picture = [texts[start : start + num_regions] for start in range(0, len(texts), num_regions)]
    return _Descriptions(by_picture, worth)


def _small_pictures(split: Split, positions: np.ndarray) -> list[tuple[bytes, tuple[int, int]]]:
    """Some pictures of a split, small, as JPEG, with their sizes."""
    wanted = set(positions.tolist())
    small = {}
    for position, encoded in enumerate(split.pictures().as_numpy_iterator()):
        if position in wanted:
            picture = Image.open(io.BytesIO(encoded))
            picture.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
            small[position] = as_jpeg(picture.convert("RGB"), quality=80), picture.size
    return [small[position] for position in positions.tolist()]
