"""Pictures with their boxes, generated sentences and hyper-parameters, for TensorBoard."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image
from tensorboard.plugins.hparams import api as hp

from visem_tf.report.drawing import draw_regions


@dataclass(frozen=True)
class AlignedPicture:
    """A picture to be drawn with the snippets of one of its sentences.

    Attributes:
      name: Ends the tag; a file name, say.
      picture: Any picture.
      boxes: float [N, 4], `rel_yxyx`.
      texts: N snippets.
      sentence: Stands below.
    """

    name: str
    picture: Image.Image
    boxes: np.ndarray
    texts: Sequence[str]
    sentence: str = ""


def write_alignment_pictures(
    log_dir: Path,
    step: int,
    pictures: Sequence[AlignedPicture],
    *,
    tag: str = "alignment",
    suffix: str = "",
) -> None:
    """Writes pictures with boxes and snippets as image summaries.

    Args:
      log_dir: Where event files stand; made if missing.
      step: The epoch.
      pictures: Each becomes a summary of its own, `<tag>/<name>`.
      tag: Begins the tags.
      suffix: Ends the name of the event file.
    """
    with _writing(log_dir, step, suffix):
        for item in pictures:
            drawn = draw_regions(item.picture, item.boxes, item.texts, item.sentence)
            tf.summary.image(f"{tag}/{item.name}", np.asarray(drawn)[np.newaxis])


def write_captions(
    log_dir: Path,
    step: int,
    captions: Mapping[str, str],
    references: Mapping[str, Sequence[str]] | None = None,
    *,
    tag: str = "captions",
    suffix: str = "",
) -> None:
    """Writes generated sentences as one text summary, a table with a line a picture.

    Args:
      log_dir: Where event files stand; made if missing.
      step: The epoch.
      captions: By the name of the picture.
      references: What people wrote, by the same names; the first one is shown. None shows none.
      tag: Name of the summary.
      suffix: Ends the name of the event file.
    """
    columns = ["picture", "generated", *([] if references is None else ["a person's"])]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for name, caption in captions.items():
        cells = [name, caption]
        if references is not None:
            cells.append((references.get(name) or [""])[0])
        lines.append(f"| {' | '.join(map(_cell, cells))} |")
    with _writing(log_dir, step, suffix):
        tf.summary.text(tag, "\n".join(lines))


def write_hyperparameters(
    log_dir: Path,
    hyperparameters: Mapping[str, bool | int | float | str],
    figures: Mapping[str, float],
    *,
    suffix: str = "",
) -> None:
    """Writes what a run was made with beside how good it became, to compare runs by.

    Args:
      log_dir: Where event files stand; made if missing.
      hyperparameters: By their dotted names.
      figures: By name; each becomes a scalar `metrics/<name>`.
      suffix: Ends the name of the event file.
    """
    with _writing(log_dir, 0, suffix):
        # Which are the figures; otherwise the page lists every scalar of the run as one.
        hp.hparams_config(
            hparams=[hp.HParam(name) for name in hyperparameters],
            metrics=[hp.Metric(f"metrics/{name}", display_name=name) for name in figures],
        )
        hp.hparams(dict(hyperparameters))
        for name, value in figures.items():
            tf.summary.scalar(f"metrics/{name}", value)


@contextlib.contextmanager
def _writing(log_dir: Path, step: int, suffix: str = "") -> Iterator[None]:
    writer = tf.summary.create_file_writer(str(log_dir), filename_suffix=suffix)
    with writer.as_default(step):
        yield
    writer.close()


def _cell(text: str) -> str:
    """A text that cannot end its cell of a Markdown table, nor be taken for markup."""
    text = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;")
    return "".join("\\" + sign if sign in "\\`*_[]|" else sign for sign in text)
