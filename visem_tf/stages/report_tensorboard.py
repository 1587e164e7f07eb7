"""Images and captions, metrics and embeddings that the report adds to TensorBoard.

The event files of a report end with its name and are replaced when it is made again.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

from visem_tf.regions.extractor import Regions
from visem_tf.report.drawing import draw_regions
from visem_tf.report.gallery import GalleryImage
from visem_tf.report.projector import Point, write_projector
from visem_tf.report.tensorboard import write_captions, write_hyperparameters, write_images
from visem_tf.runs.context import Context
from visem_tf.runs.grounding import Grounder
from visem_tf.text import SPECIAL_WORDS

_SUFFIX = ".report"
_WORDS = 400
_IMAGES = 24
_SECTIONS = ("text", "regions", "align", "infer", "generate", "dataset", "preset", "seed")


def write_examples(context: Context, images: Sequence[GalleryImage]) -> None:
    """Removes the event files of an earlier report; writes some images, and all captions.

    Args:
        context: Context of the run.
        images: Images of the gallery.
    """
    log_dir = _log_dir(context)
    for old in log_dir.glob(f"events.*{_SUFFIX}"):
        old.unlink()
    drawn = {}
    for image in images[:_IMAGES]:
        for sentence in image.sentences[:1]:
            texts = [snippet.text for snippet in sentence.snippets]
            boxes = np.array([snippet.box.box for snippet in sentence.snippets]).reshape(-1, 4)
            opened = Image.open(io.BytesIO(image.jpeg))
            drawn[f"{image.group}/{image.file_name}"] = draw_regions(
                opened, boxes, texts, " ".join(texts)
            )
    step = context.run.summary("align").get("best_epoch", 0)
    write_images(log_dir, step, drawn, tag="report", suffix=_SUFFIX)
    captions = {p.file_name: p.caption for p in images if p.caption is not None}
    if captions:
        references = {image.file_name: image.references for image in images}
        step = context.run.summary("generate").get("full_frame", {}).get("best_epoch", 0)
        write_captions(log_dir, step, captions, references, tag="report/captions", suffix=_SUFFIX)


def write_results(context: Context, metrics: Mapping[str, Any]) -> None:
    """Writes the configuration and the main metrics, to compare runs.

    Args:
        context: Context of the run.
        metrics: Content of `metrics.json`.
    """
    settings = {
        name: value if isinstance(value, bool | int | float | str) else ",".join(value)
        for name, value in context.config.flat()
        if name.partition(".")[0] in _SECTIONS
    }
    write_hyperparameters(_log_dir(context), settings, dict(_main(metrics)), suffix=_SUFFIX)


def write_space(
    context: Context, grounder: Grounder, regions: Regions, images: Sequence[GalleryImage]
) -> None:
    """Writes the most frequent words and the regions of some images for the projector.

    The embedding of a word is that of a sentence of this word alone.

    Args:
        context: Context of the run.
        grounder: Alignment model and its vocabulary, the most frequent words first.
        regions: Regions of the images of the gallery.
        images: Images of the gallery.
    """
    first = len(SPECIAL_WORDS)
    words = grounder.vocabulary.words[first : first + _WORDS]
    points = [Point(word) for word in words]
    for row, image in enumerate(images[:_IMAGES]):
        whole = Image.open(io.BytesIO(image.jpeg))
        width, height = whole.size
        for box in regions.boxes[row][regions.region_mask[row]]:
            top, left, bottom, right = box.tolist()
            edges = (left * width, top * height, right * width, bottom * height)
            crop = whole.resize(whole.size, box=edges)
            points.append(Point(image.file_name, crop))
    token_ids = tf.range(first, first + len(words))[:, tf.newaxis]
    of_words = np.asarray(grounder.model.encode_sentences(token_ids))[:, 0]
    of_regions = np.asarray(grounder.model.encode_regions(regions.region_features[:_IMAGES]))
    of_regions = of_regions[np.asarray(regions.region_mask[:_IMAGES])]
    write_projector(_log_dir(context), points, np.concatenate([of_words, of_regions]))


def _main(metrics: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yields names and values of the main metrics."""
    parts = [
        ("", metrics["ranking"] or {}, ("r1", "r5", "r10", "median_rank")),
        ("captions ", metrics["captions"] or {}, ("bleu1", "bleu4", "meteor", "cider")),
        (
            "",
            {"regions": metrics["regions"] or {}},
            ("word_accuracy", "phrase_iou50", "pointing"),
        ),
    ]
    for prefix, rows, names in parts:
        for row, values in rows.items():
            for name in names:
                if values.get(name) is not None:
                    short = name.replace("_", " ") if row == "regions" else name
                    yield f"{prefix}{row.replace('_', ' ')} {short}", values[name]


def _log_dir(context: Context) -> Path:
    return context.run / "tensorboard"
