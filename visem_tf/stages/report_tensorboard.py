"""What the report adds to TensorBoard: its pictures and captions, its figures, and the space.

The event files of a report end with its name and are replaced when it is made again.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

from visem_tf.models.alignment_model import AlignmentModel
from visem_tf.regions.extractor import Regions
from visem_tf.report.gallery import GalleryPicture
from visem_tf.report.projector import Point, write_projector
from visem_tf.report.tensorboard import (
    AlignedPicture,
    write_alignment_pictures,
    write_captions,
    write_hyperparameters,
)
from visem_tf.runs.context import Context
from visem_tf.text import SPECIAL_WORDS, Vocabulary

_SUFFIX = ".report"
_WORDS = 400
_PICTURES = 24
_SECTIONS = ("text", "regions", "align", "infer", "generate")


def write_examples(context: Context, pictures: Sequence[GalleryPicture]) -> None:
    """Writes some pictures of the report with their snippets, and all captions; first of all.

    Args:
      context: Of the run.
      pictures: Of the gallery.
    """
    log_dir = _log_dir(context)
    for old in log_dir.glob(f"events.*{_SUFFIX}"):  # of a report that this one replaces
        old.unlink()
    drawn = []
    for picture in pictures[:_PICTURES]:
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
    write_alignment_pictures(log_dir, step, drawn, tag="report", suffix=_SUFFIX)
    captions = {p.file_name: p.caption for p in pictures if p.caption is not None}
    if captions:
        references = {picture.file_name: picture.references for picture in pictures}
        step = context.run.summary("generate").get("full_frame", {}).get("best_epoch", 0)
        write_captions(log_dir, step, captions, references, tag="report/captions", suffix=_SUFFIX)


def write_results(context: Context, metrics: Mapping[str, Any] | None) -> None:
    """Writes the configuration and the main figures as hyper-parameters and metrics.

    Args:
      context: Of the run.
      metrics: What `metrics.json` holds; None if there is none.
    """
    if metrics is None:
        return
    settings = {
        name: value if isinstance(value, bool | int | float | str) else ",".join(value)
        for name, value in context.config.flat()
        if name.partition(".")[0] in (*_SECTIONS, "dataset", "preset", "seed")
    }
    write_hyperparameters(_log_dir(context), settings, dict(_figures(metrics)), suffix=_SUFFIX)


def write_space(
    context: Context,
    model: AlignmentModel,
    vocabulary: Vocabulary,
    regions: Regions,
    pictures: Sequence[GalleryPicture],
) -> None:
    """Writes the most frequent words and the regions of some pictures for the projector.

    Args:
      context: Of the run.
      model: Embeds regions.
      vocabulary: The words, the most frequent first.
      regions: Of the gallery's pictures.
      pictures: Of the gallery.
    """
    first = len(SPECIAL_WORDS)
    words = vocabulary.words[first : first + _WORDS]
    token_ids = tf.range(first, first + len(words))[:, tf.newaxis]  # a sentence per word
    points = [Point("word", word) for word in words]
    for row, picture in enumerate(pictures[:_PICTURES]):
        whole = Image.open(io.BytesIO(picture.jpeg))
        width, height = whole.size
        for box in regions.boxes[row][regions.region_mask[row]]:
            top, left, bottom, right = (float(edge) for edge in box)
            edges = (left * width, top * height, right * width, bottom * height)
            crop = whole.resize(whole.size, box=edges)
            points.append(Point("region", picture.file_name, crop))
    embedded = model.encode_regions(regions.region_features[:_PICTURES]).numpy()
    chosen = embedded[np.asarray(regions.region_mask[:_PICTURES])]
    alone = model.encode_sentences(token_ids)[:, 0].numpy()
    write_projector(_log_dir(context), points, np.concatenate([alone, chosen]))


def _figures(metrics: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for direction, figures in metrics["ranking"].items():
        for name in ("r1", "r5", "r10", "median_rank"):
            yield f"{direction.replace('_', ' ')} {name}", figures[name]
    for search, scores in (metrics["captions"] or {}).items():
        for name in ("bleu1", "bleu4", "meteor", "cider"):
            if scores.get(name) is not None:
                yield f"captions {search.replace('_', ' ')} {name}", scores[name]
    for name in ("word_accuracy", "phrase_iou50", "pointing"):
        if metrics["regions"] and metrics["regions"].get(name) is not None:
            yield f"regions {name.replace('_', ' ')}", metrics["regions"][name]


def _log_dir(context: Context) -> Path:
    return context.run / "tensorboard"
