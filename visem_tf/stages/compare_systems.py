"""Other systems scored by the same code, beside a run: vectors, captions, or a second run."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from visem_tf.config import EvaluateConfig
from visem_tf.errors import UserError
from visem_tf.metrics.captions import CaptionScorer
from visem_tf.metrics.embedding_files import Vectors
from visem_tf.metrics.resampling import MEDIAN, Evidence, differences, load_evidence
from visem_tf.runs.scoring import score_vectors
from visem_tf.runtime.storage import as_path
from visem_tf.runtime.working_copy import working_copy
from visem_tf.stages.evaluate import evaluate_ranking, figure_intervals

_BASELINES = (
    "ranking_whole_frame.",
    "captions.nearest_neighbour.",
    "regions.whole_frame.",
    "regions.without_mrf.",
    "regions.nearest_neighbour.",
    "regions.people.",
)
"""Figures that are of no use in a comparison of two runs."""


def read_run_evidence(
    run_dir: str | os.PathLike[str], split: str
) -> tuple[dict[str, Evidence], list[str]]:
    """What the figures of an evaluated run rest on, and its pictures.

    Raises:
      UserError: it is no run directory, or that split of it was not evaluated.
    """
    if not (as_path(run_dir) / "config.json").is_file():
        raise UserError(f"{run_dir} is no run directory (it has no config.json)")
    path = working_copy(run_dir) / f"evidence_{split}.npz"
    command = f"python -m visem_tf.evaluate --run-dir {run_dir} --split {split}"
    if not path.is_file():
        raise UserError(f"{run_dir} has no {path.name}; run {command} first")
    try:
        return load_evidence(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be used: {error}; run {command} again") from error


def compare_runs(
    ours: tuple[Mapping[str, Evidence], Sequence[str]],
    theirs: tuple[Mapping[str, Evidence], Sequence[str]],
    name: str,
    settings: EvaluateConfig,
    seed: int,
) -> dict[str, Any]:
    """The paired comparison of two runs, for `metrics.json`.

    Args:
      ours: evidence and pictures of the first run.
      theirs: those of the second.
      name: of the second run.
      settings: how often to draw.
      seed: of the drawings.

    Raises:
      UserError: the runs were evaluated on other pictures, or sentences.
    """
    (first, image_ids), (second, other_ids) = ours, theirs
    if set(image_ids) != set(other_ids):
        strangers = len(set(image_ids) ^ set(other_ids))
        raise UserError(
            f"{name} was evaluated on other pictures ({strangers} are in one of the two only); "
            "a paired test needs the same"
        )
    place = {image_id: n for n, image_id in enumerate(image_ids)}
    order = np.array([place[image_id] for image_id in other_ids])
    names = [n for n in first if n in second and not n.startswith(_BASELINES)]
    moved = {n: _reordered(second[n], order) for n in names}
    _check_same_queries(first, moved, name)
    return {"with": name, "figures": _paired(first, moved, names, len(image_ids), settings, seed)}


def evaluate_vectors(
    vectors: Vectors,
    name: str,
    image_index: np.ndarray | None,
    images: int | None,
    evidence: Mapping[str, Evidence] | None,
    settings: EvaluateConfig,
    seed: int,
) -> dict[str, Any]:
    """Ranks vectors from elsewhere, beside those of a run where they are of the same split.

    Args:
      vectors: checked.
      name: of their file.
      image_index: int [S] of the run's split; None without a run.
      images: I of the run's split; None without a run.
      evidence: of the run; None without one.
      settings: folds, and how often to draw.
      seed: of the drawings.

    Raises:
      UserError: the file has no `image_index` and its sizes are not those of the split.
    """
    size = vectors.shape
    index = vectors.image_index if vectors.image_index is not None else image_index
    if index is None:
        raise UserError(f"{name} needs image_index, the picture of every sentence, or --run-dir")
    if vectors.image_index is None and size != (images, len(index)):
        raise UserError(
            f"{name} has {size[0]} pictures and {size[1]} sentences, the split has {images} and "
            f"{len(index)}; choose the right --split, or put image_index into the file"
        )
    found = evaluate_ranking(score_vectors(vectors), index, settings.fold_size)
    result: dict[str, Any] = {"with": name, "images": size[0], "sentences": size[1]}
    result |= found.figures or {}
    result["intervals"] = _intervals(found.evidence, size[0], settings, seed)
    same = image_index is not None and size[0] == images and np.array_equal(index, image_index)
    if evidence is not None and same:
        names = list(found.evidence)
        result["figures"] = _paired(evidence, found.evidence, names, size[0], settings, seed)
    return result


def evaluate_caption_file(
    captions: Mapping[str, str],
    name: str,
    references: Mapping[str, Sequence[str]],
    training_sentences: Sequence[str] | None,
    evidence: Mapping[str, Evidence] | None,
    settings: EvaluateConfig,
    seed: int,
) -> dict[str, Any]:
    """Scores captions that any program made, beside a run's beam search.

    Args:
      captions: one for each of `references`, in the same order.
      name: of their file.
      references: sentences by image id.
      training_sentences: to tell which are copied; None where they are not known.
      evidence: of a run on the same pictures in the same order; None without one.
      settings: how often to draw.
      seed: of the drawings.
    """
    with CaptionScorer() as scorer:
        found = scorer.score(references, {name: captions}, training_sentences)[name]
    result: dict[str, Any] = {"with": name, "scores": found.scores, "notes": found.notes}
    result["intervals"] = _intervals(found.evidence, len(captions), settings, seed)
    if evidence is not None:
        theirs = {f"captions.beam.{score}": e for score, e in found.evidence.items()}
        names = [n for n in theirs if n in evidence]
        result["figures"] = _paired(evidence, theirs, names, len(captions), settings, seed)
    return result


def _paired(
    first: Mapping[str, Evidence],
    second: Mapping[str, Evidence],
    names: Sequence[str],
    images: int,
    settings: EvaluateConfig,
    seed: int,
) -> dict[str, dict[str, float]]:
    if not settings.resamples:
        return {}
    found = differences(
        {name: first[name] for name in names},
        second,
        images,
        resamples=settings.resamples,
        seed=seed,
    )
    return {name: dataclasses.asdict(difference) for name, difference in found.items()}


def _intervals(
    evidence: Mapping[str, Evidence], images: int, settings: EvaluateConfig, seed: int
) -> dict[str, list[float]] | None:
    if not settings.resamples:
        return None
    return figure_intervals(evidence, images, settings.resamples, seed)


def _reordered(evidence: Evidence, order: np.ndarray) -> Evidence:
    """The evidence with picture n at `order[n]`."""
    parts = evidence.parts.copy()
    if evidence.kind == MEDIAN:
        parts[:, 0] = order[parts[:, 0].astype(np.int64)]
    else:
        parts[order] = evidence.parts
    return Evidence(evidence.kind, parts)


def _check_same_queries(
    first: Mapping[str, Evidence], second: Mapping[str, Evidence], name: str
) -> None:
    """Refuses runs whose pictures have other numbers of sentences."""
    key = "ranking.image_search.r1"
    if key in second and not np.array_equal(first[key].parts[:, 1], second[key].parts[:, 1]):
        raise UserError(f"{name} was evaluated on other sentences; a paired test needs the same")
