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

from visem_tf.datasets.loading import Split
from visem_tf.files import write_atomically
from visem_tf.metrics.ranking import ranks
from visem_tf.models.alignment_model import AlignmentModel
from visem_tf.regions.cache import FeatureCache
from visem_tf.report.curves import Curves, training_curves
from visem_tf.report.gallery import GalleryPicture, align_picture, choose_pictures
from visem_tf.report.page import Page, headline, render
from visem_tf.report.pictures import as_jpeg
from visem_tf.report.tables import metric_tables
from visem_tf.report.tensorboard import (
    AlignedPicture,
    write_alignment_pictures,
    write_captions,
)
from visem_tf.stages import Context
from visem_tf.stages.align import load_model, read_or_build_vocabulary
from visem_tf.stages.captioning import Describer
from visem_tf.stages.features import open_cache
from visem_tf.stages.generate import load_generator
from visem_tf.stages.infer import align_split
from visem_tf.stages.scoring import Scorer, sentence_token_ids
from visem_tf.text import Vocabulary, tokenize

_PICTURES = 24
_SENTENCES_OF_A_PICTURE = 2
_LONGEST_SIDE = 400


class _Descriptions(NamedTuple):
    """What the region-level generator says of the regions of P pictures.

    Attributes:
      texts: P lists of R texts.
      sureness: float [P, R], mean log-probability of a word.
    """

    texts: list[list[str]]
    sureness: np.ndarray


def run(context: Context) -> dict[str, Any]:
    """Writes the page and the summaries."""
    name = context.config.evaluate.split
    split, metrics = context.data.splits[name], _read_json(context, "metrics.json")
    captions, absences = _captions(context, name)
    cache, vocabulary = open_cache(context, name), read_or_build_vocabulary(context)
    pictures = []
    if split.regions is None:
        pictures = _gallery(context, split, cache, vocabulary, captions, absences)
    else:
        absences.append("Pictures: the features were computed elsewhere, without pictures.")
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
    )
    html = render(page)
    write_atomically(context.run / "report.html", html)
    _write_tensorboard(context, pictures)
    return {"pictures": len(pictures), "bytes": len(html.encode())}


def is_outdated(context: Context) -> bool:
    """Whether the page is older than the figures that it shows."""
    page, metrics = context.run / "report.html", context.run / "metrics.json"
    if not page.exists() or not metrics.exists():
        return not page.exists()
    return metrics.stat().st_mtime_ns > page.stat().st_mtime_ns


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
    vocabulary: Vocabulary,
    captions: dict[str, str],
    absences: list[str],
) -> list[GalleryPicture]:
    config = context.config
    token_ids = sentence_token_ids(vocabulary, split.sentences, config.text.max_words)
    model = load_model(context)
    annotation, search = ranks(
        Scorer(model, cache.num_regions, cache.feature_dim)(cache, token_ids), split.image_index
    )
    with_sentences = np.unique(split.image_index)
    chosen = choose_pictures(annotation, _PICTURES, config.seed)
    positions = with_sentences[[position for position, _ in chosen]]
    regions = cache.gather(positions)
    described = _describe(context, vocabulary, regions.region_features)
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
        tokens, word_regions = aligned[number]
        boxes, sentences = align_picture(
            tokens,
            word_regions,
            search[rows[number]].tolist(),
            regions.boxes[number],
            None if described is None else described.texts[number],
            None
            if described is None
            else np.where(regions.region_mask[number], described.sureness[number], -np.inf),
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
    return pictures


def _align(
    context: Context,
    model: AlignmentModel,
    cache: FeatureCache,
    token_ids: tf.RaggedTensor,
    split: Split,
    rows: Sequence[np.ndarray],
) -> list[tuple[list[list[str]], np.ndarray]]:
    """The words of some sentences of each picture, and the regions of these words."""
    flat = np.concatenate(rows)
    found = align_split(
        model, cache, tf.gather(token_ids, flat), split.image_index[flat], context.config
    )
    words = tokenize(tf.constant([split.sentences[row] for row in flat]))
    tokens = words[:, : context.config.text.max_words].to_list()
    text = [[word.decode() for word in sentence] for sentence in tokens]
    bounds = np.cumsum([0, *(len(of_picture) for of_picture in rows)])
    return [
        (text[start:stop], found.regions[start:stop]) for start, stop in itertools.pairwise(bounds)
    ]


def _describe(
    context: Context, vocabulary: Vocabulary, region_features: np.ndarray
) -> _Descriptions | None:
    """Describes regions [P, R, F]; None if nothing was trained to."""
    generator = load_generator(context, "regions")
    if generator is None:
        return None
    count, num_regions, feature_dim = region_features.shape
    beam_size = context.config.evaluate.beam_size
    describer = Describer(generator, vocabulary, context.config.generate, beam_size)
    texts, log_probs = describer(region_features.reshape(-1, feature_dim))
    sureness = log_probs / np.array([len(text.split()) + 1 for text in texts])
    by_picture = [texts[start : start + num_regions] for start in range(0, len(texts), num_regions)]
    return _Descriptions(by_picture, sureness.reshape(count, num_regions))


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


def _write_tensorboard(context: Context, pictures: Sequence[GalleryPicture]) -> None:
    log_dir = context.run / "tensorboard" / "examples"
    for old in log_dir.glob("events.*"):  # Of a report that this one replaces.
        old.unlink()
    drawn = []
    for picture in pictures:
        for sentence in picture.sentences[:1]:
            snippets = sentence.snippets
            drawn.append(
                AlignedPicture(
                    f"{picture.group}/{picture.file_name}",
                    Image.open(io.BytesIO(picture.jpeg)),
                    np.array([snippet.box.box for snippet in snippets]).reshape(-1, 4),
                    [snippet.text for snippet in snippets],
                    " ".join(snippet.text for snippet in snippets),
                )
            )
    step = context.run.summary("align").get("best_epoch", 0)
    write_alignment_pictures(log_dir, step, drawn)
    captions = {p.file_name: p.caption for p in pictures if p.caption is not None}
    if captions:
        references = {picture.file_name: picture.references for picture in pictures}
        step = context.run.summary("generate").get("full_frame", {}).get("best_epoch", 0)
        write_captions(log_dir, step, captions, references)


def _read_json(context: Context, name: str) -> Any:
    """What a file of the run holds; None if there is no such file."""
    path = context.run / name
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
