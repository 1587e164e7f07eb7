"""The sixth stage: `report.html`, and pictures and captions for TensorBoard.

Shows a third each of pictures whose own sentence ranks best, of any pictures and of pictures whose
sentence ranks worst, so that the page flatters nobody.
"""

import io
import itertools
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from PIL import Image

from visem_tf.config import ReportConfig
from visem_tf.datasets.loading import Split
from visem_tf.files import write_atomically
from visem_tf.metrics.ranking import ranks
from visem_tf.models.alignment_model import AlignmentModel
from visem_tf.regions.cache import FeatureCache
from visem_tf.regions.extractor import Regions
from visem_tf.report.curves import Curves, training_curves
from visem_tf.report.gallery import GalleryPicture, align_picture, choose_pictures
from visem_tf.report.page import Page, WordScores, headline, render
from visem_tf.report.pictures import as_jpeg
from visem_tf.report.tables import metric_tables
from visem_tf.stages import Context
from visem_tf.stages.align import load_model, read_or_build_vocabulary
from visem_tf.stages.captioning import Describer
from visem_tf.stages.features import open_cache
from visem_tf.stages.generate import load_generator
from visem_tf.stages.infer import align_split
from visem_tf.stages.report_tensorboard import write_examples, write_results, write_space
from visem_tf.stages.scoring import Scorer, sentence_token_ids
from visem_tf.stages.word_index import word_embeddings, word_scores
from visem_tf.text import PAD_ID, SPECIAL_WORDS, Vocabulary, tokenize

_SENTENCES_OF_A_PICTURE = 2
_SENTENCES_READ = 5000
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


class _Gallery(NamedTuple):
    """The pictures to show.

    Attributes:
      pictures: P of them, with all that is said of them.
      regions: Of the P pictures.
      word_embeddings: float [V - 4, D], of all words.
    """

    pictures: list[GalleryPicture]
    regions: Regions
    word_embeddings: tf.Tensor


def run(context: Context) -> dict[str, Any]:
    """Writes the page and the summaries."""
    name = context.config.evaluate.split
    split, metrics = context.data.splits[name], _read_json(context, "metrics.json")
    captions, absences = _captions(context, name)
    cache, vocabulary = open_cache(context, name), read_or_build_vocabulary(context)
    model = load_model(context)
    gallery = _gallery(context, split, cache, model, vocabulary, captions, absences)
    pictures = gallery.pictures
    recorded = _read_json(context, "config.json") or {}
    page = Page(
        title=f"Deep visual-semantic alignments on {context.config.dataset}",
        facts=_facts(context, split, recorded.pop("versions", {})),
        headline=headline(metrics),
        tables=metric_tables(metrics),
        curves=_curves(context),
        pictures=pictures,
        num_sentences=len(split.sentences),
        num_images=len(split.image_ids),
        absences=absences,
        # Without what is nobody's business but the machine's, for the page may be passed on.
        configuration=json.dumps(
            {key: value for key, value in recorded.items() if not key.endswith("_dir")},
            indent=2,
            ensure_ascii=False,
        ),
        word_scores=WordScores(
            vocabulary.words[len(SPECIAL_WORDS) :],
            word_scores(model, gallery.word_embeddings, gallery.regions),
        ),
    )
    html = render(page)
    write_atomically(context.run / "report.html", html)
    write_examples(context, pictures)
    write_results(context, metrics)
    write_space(context, model, vocabulary, gallery.word_embeddings, gallery.regions, pictures)
    asked = context.config.report.pictures
    return {"pictures": len(pictures), "asked": asked, "bytes": len(html.encode())}


def is_outdated(context: Context) -> bool:
    """Whether the page is gone, older than its figures, or another number of pictures is asked."""
    page, metrics = context.run / "report.html", context.run / "metrics.json"
    asked = context.run.summary("report").get("asked", ReportConfig().pictures)
    if not page.exists() or asked != context.config.report.pictures:
        return True
    return metrics.exists() and metrics.stat().st_mtime_ns > page.stat().st_mtime_ns


def _facts(context: Context, split: Split, versions: dict[str, str | None]) -> dict[str, str]:
    config, data = context.config, context.data
    facts = {
        "Data set": config.dataset,
        "Split": f"{split.name}: {len(split.image_ids):,} pictures, "
        f"{len(split.sentences):,} sentences",
        "Trained on": f"{len(data.splits['train'].image_ids):,} pictures, "
        f"{len(data.splits['train'].sentences):,} sentences",
        "Preset": config.preset,
        "Seed": str(config.seed),
        "Regions": f"{config.regions.num_regions} a picture at most, by {config.regions.proposer}; "
        f"described by {config.regions.backbone}",
        "Versions": ", ".join(f"{name} {version}" for name, version in versions.items() if version),
    }
    if data.skipped:
        facts["Skipped"] = f"{len(data.skipped):,} pictures that cannot be read"
    return facts


def _curves(context: Context) -> list[Curves]:
    trainings = [("Alignment", "align", True)]
    for title, name in (("Full-frame generator", "full_frame"), ("Region generator", "regions")):
        trainings.append((title, f"generate/{name}", getattr(context.config.generate, name)))
    curves = []
    for title, folder, wanted in trainings:
        progress = _read_json(context, f"checkpoints/{folder}/progress.json") or {}
        absent = "it has not been trained yet" if wanted else "the configuration leaves it out"
        curves.append(training_curves(title, progress.get("history", []), absent))
    return curves


def _captions(context: Context, split: str) -> tuple[dict[str, str], list[str]]:
    """The generated captions by image id, and why there are none."""
    results = _read_json(context, f"captions_{split}.json")
    if results is None:
        why = (
            "the stage evaluate has not written them"
            if context.config.generate.full_frame
            else "the configuration leaves the full-frame generator out"
        )
        return {}, [f"Captions of whole pictures: {why}."]
    return {result["image_id"]: result["caption"] for result in results}, []


def _gallery(
    context: Context,
    split: Split,
    cache: FeatureCache,
    model: AlignmentModel,
    vocabulary: Vocabulary,
    captions: dict[str, str],
    absences: list[str],
) -> _Gallery:
    config = context.config
    token_ids = sentence_token_ids(vocabulary, split.sentences, config.text.max_words)
    annotation, search = ranks(
        Scorer(model, cache.num_regions, cache.feature_dim)(cache, token_ids), split.image_index
    )
    with_sentences = np.unique(split.image_index)
    chosen = choose_pictures(annotation, config.report.pictures, config.seed)
    positions = with_sentences[[position for position, _ in chosen]]
    regions = cache.gather(positions)
    described = _describe(context, model, vocabulary, regions.region_features)
    if described is None:
        absences.append("Descriptions of regions: the region generator has not been trained.")
    jpegs = _small_pictures(split, positions)
    references = split.references()
    rows = [
        np.flatnonzero(split.image_index == position)[:_SENTENCES_OF_A_PICTURE]
        for position in positions
    ]
    aligned = _align(context, model, cache, token_ids, split, rows)
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
                captions.get(image_id),
                references[image_id],
            )
        )
    known = _sample(context.data.splits["train"].sentences)
    words = word_embeddings(model, vocabulary, known, config.text.max_words)
    return _Gallery(pictures, regions, words)


def _sample(sentences: Sequence[str]) -> Sequence[str]:
    """Some of the sentences, evenly spread."""
    return sentences[:: max(1, len(sentences) // _SENTENCES_READ)]


def _align(
    context: Context,
    model: AlignmentModel,
    cache: FeatureCache,
    token_ids: tf.RaggedTensor,
    split: Split,
    rows: Sequence[np.ndarray],
) -> list[tuple[list[list[str]], np.ndarray, np.ndarray]]:
    """Of some sentences of each picture: the words, their regions, and their scores with all."""
    flat = np.concatenate(rows)
    found = align_split(
        model, cache, tf.gather(token_ids, flat), split.image_index[flat], context.config
    )
    similarities = _similarities(model, cache, tf.gather(token_ids, flat), split.image_index[flat])
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
    model: AlignmentModel,
    vocabulary: Vocabulary,
    region_features: np.ndarray,
) -> _Descriptions | None:
    """Describes regions [P, R, F]; None if nothing was trained to."""
    generator = load_generator(context, "regions")
    if generator is None:
        return None
    count, num_regions, feature_dim = region_features.shape
    beam_size = context.config.evaluate.beam_size
    describer = Describer(generator, vocabulary, context.config.generate, beam_size)
    texts, _ = describer(region_features.reshape(-1, feature_dim))
    words = model.encode_sentences(vocabulary.encode(tf.constant(texts)).to_tensor(PAD_ID))
    meanings = tf.reshape(tf.reduce_sum(words, axis=1), [count, num_regions, -1])
    worth = tf.reduce_sum(meanings * model.encode_regions(region_features), axis=2).numpy()
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


def _read_json(context: Context, name: str) -> Any:
    """What a file of the run holds; None if there is no such file."""
    path = context.run / name
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
