"""Other systems beside a run, scored by the same code: a second run, captions, or embeddings."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from visem_tf.config import Config
from visem_tf.errors import UserError
from visem_tf.metrics.captions import CaptionScorer
from visem_tf.metrics.embedding_files import Vectors
from visem_tf.metrics.resampling import MEDIAN, Evidence, differences, load_evidence
from visem_tf.runs.scoring import score_vectors
from visem_tf.runtime.storage import as_path
from visem_tf.runtime.working_copy import working_copy
from visem_tf.stages.evaluate import figure_intervals
from visem_tf.stages.evaluate_ranking import evaluate_ranking

_BASELINES = (
    "ranking_whole_frame.",
    "captions.nearest_neighbour.",
    "regions.whole_frame.",
    "regions.without_mrf.",
    "regions.nearest_neighbour.",
    "regions.people.",
)
"""Prefixes of figures that a comparison of two runs leaves out."""


class RunEvidence(NamedTuple):
    """Contributions of the I images of a split to the figures of a run.

    Attributes:
        evidence: Contributions by dotted name of the figure.
        image_ids: Names of the images.
    """

    evidence: dict[str, Evidence]
    image_ids: list[str]


def read_run_evidence(run_dir: str | os.PathLike[str], split: str) -> RunEvidence:
    """Reads the evidence of an evaluated run.

    Args:
        run_dir: Run directory.
        split: Name of the split.

    Raises:
        UserError: If it is not a run directory, or this split was not evaluated.
    """
    if not (as_path(run_dir) / "config.json").is_file():
        raise UserError(f"{run_dir} is not a run directory (it has no config.json)")
    path = working_copy(run_dir, read_only=True) / f"evidence_{split}.npz"
    command = f"python -m visem_tf.evaluate --run-dir {run_dir} --split {split}"
    if not path.is_file():
        raise UserError(f"{run_dir} has no {path.name}; run {command} first")
    try:
        return RunEvidence(*load_evidence(path))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be used: {error}; run {command} again") from error


def compare_runs(
    ours: RunEvidence, theirs: RunEvidence, name: str, config: Config
) -> dict[str, Any]:
    """Compares two runs by paired tests.

    Args:
        ours: Evidence of the first run.
        theirs: Evidence of the second run, on the same images in any order.
        name: Name of the second run.
        config: Configuration, whose `evaluate.resamples` and `seed` are used.

    Returns:
        The entry "comparison" of `metrics.json`.

    Raises:
        UserError: The runs were evaluated on other images or sentences.
    """
    if strangers := len(set(ours.image_ids) ^ set(theirs.image_ids)):
        raise UserError(
            f"{name} was evaluated on other images ({strangers} belong to one run only); a "
            "paired test needs the same images"
        )
    place = {image_id: n for n, image_id in enumerate(ours.image_ids)}
    order = np.array([place[image_id] for image_id in theirs.image_ids])
    first = {n: e for n, e in ours.evidence.items() if not n.startswith(_BASELINES)}
    second = {n: _reordered(e, order) for n, e in theirs.evidence.items() if n in first}
    key = "ranking.image_search.r1"
    if key in second and not np.array_equal(first[key].parts[:, 1], second[key].parts[:, 1]):
        raise UserError(f"{name} was evaluated on other sentences; a paired test needs the same")
    return {"with": name, "figures": _paired(first, second, len(order), config)}


def evaluate_vectors(
    vectors: Vectors,
    name: str,
    config: Config,
    image_index: np.ndarray | None = None,
    ours: RunEvidence | None = None,
) -> dict[str, Any]:
    """Ranks embeddings from a file, beside those of a run if they are of the same split.

    Args:
        vectors: Checked content of the file.
        name: Name of the file.
        config: Configuration, whose section `evaluate` and `seed` are used.
        image_index: Position of the image of every sentence of the run's split, int [S].
        ours: Evidence of the run.

    Returns:
        The entry "against" of `metrics.json`.

    Raises:
        UserError: The file has no `image_index`, and its sizes are not those of the split.
    """
    size, index = vectors.shape, vectors.image_index
    images = len(ours.image_ids) if ours else 0
    if index is None:
        if image_index is None:
            raise UserError(f"{name} needs image_index, the image of every sentence, or --run-dir")
        if size != (images, len(image_index)):
            raise UserError(
                f"{name} has {size[0]} images and {size[1]} sentences, the split has {images} "
                f"and {len(image_index)}; choose the right --split, or put image_index into the "
                "file"
            )
        index = image_index
    found = evaluate_ranking(score_vectors(vectors), index, config.evaluate.fold_size)
    result: dict[str, Any] = {"with": name, "images": size[0], "sentences": size[1]}
    result |= found.figures
    result["intervals"] = figure_intervals(found.evidence, size[0], config)
    same = image_index is not None and np.array_equal(index, image_index)
    if ours and same and size[0] == images:
        result["figures"] = _paired(ours.evidence, found.evidence, images, config)
    return result


def evaluate_caption_file(
    captions: Mapping[str, str],
    name: str,
    references: Mapping[str, Sequence[str]],
    config: Config,
    training_sentences: Sequence[str] | None = None,
    ours: RunEvidence | None = None,
) -> dict[str, Any]:
    """Scores the captions of a file, beside those of a run's beam search.

    Args:
        captions: One caption for each image of `references`, in the same order.
        name: Name of the file.
        references: Sentences by image id.
        config: Configuration, whose `evaluate.resamples` and `seed` are used.
        training_sentences: Sentences of which captions may be copies, if they are known.
        ours: Evidence of a run on the same images in the same order.

    Returns:
        The entry "captions_file" of `metrics.json`.
    """
    with CaptionScorer() as scorer:
        found = scorer.score(references, {name: captions}, training_sentences)[name]
    result: dict[str, Any] = {"with": name, "scores": found.scores, "notes": found.notes}
    result["intervals"] = figure_intervals(found.evidence, len(captions), config)
    if ours:
        theirs = {f"captions.beam.{score}": e for score, e in found.evidence.items()}
        result["figures"] = _paired(ours.evidence, theirs, len(captions), config)
    return result


def _paired(
    first: Mapping[str, Evidence], second: Mapping[str, Evidence], images: int, config: Config
) -> dict[str, dict[str, float]]:
    """The differences of the figures that both systems have."""
    resamples = config.evaluate.resamples
    if not resamples:
        return {}
    found = differences(first, second, images, resamples=resamples, seed=config.seed)
    return {name: dataclasses.asdict(difference) for name, difference in found.items()}


def _reordered(evidence: Evidence, order: np.ndarray) -> Evidence:
    """The evidence with image n at position `order[n]`."""
    parts = evidence.parts.copy()
    if evidence.kind == MEDIAN:
        parts[:, 0] = order[parts[:, 0].astype(np.int64)]
    else:
        parts[order] = evidence.parts
    return Evidence(evidence.kind, parts)
