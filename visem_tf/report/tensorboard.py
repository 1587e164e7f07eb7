"""Images with their boxes, generated sentences and hyper-parameters, for TensorBoard."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image
from tensorboard.plugins.hparams import api as hp


def write_images(
    log_dir: Path, step: int, images: Mapping[str, Image.Image], *, tag: str, suffix: str = ""
) -> None:
    """Writes images as image summaries.

    Args:
        log_dir: Folder of the event files; it is made if missing.
        step: Epoch.
        images: RGB images by name, such as a file name; each becomes a summary `<tag>/<name>`.
        tag: Beginning of the tags.
        suffix: End of the name of the event file.
    """
    with _writing(log_dir, step, suffix):
        for name, image in images.items():
            tf.summary.image(f"{tag}/{name}", np.asarray(image)[np.newaxis])


def write_captions(
    log_dir: Path,
    step: int,
    captions: Mapping[str, str],
    references: Mapping[str, Sequence[str]] | None = None,
    *,
    tag: str = "captions",
    suffix: str = "",
) -> None:
    """Writes generated sentences as one text summary, a table with a row per image.

    Args:
        log_dir: Folder of the event files; it is made if missing.
        step: Epoch.
        captions: Captions by the name of the image.
        references: Sentences that people wrote, by the same names; the first one is shown. None
            leaves their column out.
        tag: Name of the summary.
        suffix: End of the name of the event file.
    """
    rows = [["image", "generated"], *([name, text] for name, text in captions.items())]
    if references is not None:
        rows[0].append("reference")
        for row in rows[1:]:
            row.append((references.get(row[0]) or [""])[0])
    lines = [f"| {' | '.join(map(_cell, row))} |" for row in rows]
    lines.insert(1, "|---" * len(rows[0]) + "|")
    with _writing(log_dir, step, suffix):
        tf.summary.text(tag, "\n".join(lines))


def write_hyperparameters(
    log_dir: Path,
    hyperparameters: Mapping[str, bool | int | float | str],
    metrics: Mapping[str, float],
    *,
    suffix: str = "",
) -> None:
    """Writes the hyper-parameters of a run beside its metrics, to compare runs.

    Args:
        log_dir: Folder of the event files; it is made if missing.
        hyperparameters: Values by dotted name.
        metrics: Metrics by name; each becomes a scalar `metrics/<name>`.
        suffix: End of the name of the event file.
    """
    with _writing(log_dir, 0, suffix):
        # Without the names of the metrics the page lists every scalar of the run as one.
        hp.hparams_config(
            hparams=[hp.HParam(name) for name in hyperparameters],
            metrics=[hp.Metric(f"metrics/{name}", display_name=name) for name in metrics],
        )
        hp.hparams(dict(hyperparameters))
        for name, value in metrics.items():
            tf.summary.scalar(f"metrics/{name}", value)


@contextlib.contextmanager
def _writing(log_dir: Path, step: int, suffix: str) -> Iterator[None]:
    writer = tf.summary.create_file_writer(str(log_dir), filename_suffix=suffix)
    with writer.as_default(step):
        yield
    writer.close()


def _cell(text: str) -> str:
    """Escapes a text so that it neither ends its cell of a Markdown table nor is markup."""
    text = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;")
    return "".join("\\" + sign if sign in "\\`*_[]|" else sign for sign in text)
