"""First experiment (section 4.1): ranking sentences by images, and images by sentences."""

import numpy as np

from visem_tf.metrics.ranking import (
    chance_ranking,
    fold_metrics,
    ranking_evidence,
    ranking_summary,
    ranks,
)
from visem_tf.stages.experiment import Experiment, merge


def rank_both_ways(
    scores: np.ndarray, image_index: np.ndarray, name: str = "ranking"
) -> Experiment:
    """Ranks the sentences for every image, and the images for every sentence.

    Args:
        scores: S_kl of every image and sentence, float [I, S].
        image_index: Position of the image of every sentence, int [S].
        name: Name of the figure, and first part of the names of the evidence.
    """
    annotation, search = ranks(scores, image_index)
    evidence = ranking_evidence(annotation, search, image_index, len(scores))
    return Experiment(ranking_summary(annotation, search), evidence=evidence).under(name)


def evaluate_ranking(scores: np.ndarray, image_index: np.ndarray, fold_size: int) -> Experiment:
    """Ranks in both directions, beside chance, and also in folds if the split is large.

    Args:
        scores: S_kl of every image and sentence, float [I, S].
        image_index: Position of the image of every sentence, int [S].
        fold_size: Number of images of a fold, see `visem_tf.metrics.ranking.fold_metrics`.

    Returns:
        The figures "ranking", "ranking_chance" and "ranking_folds".
    """
    ranking = rank_both_ways(scores, image_index)
    folds, notes = fold_metrics(scores, image_index, fold_size), {}
    if folds is None:
        notes["ranking_folds"] = f"fewer than two folds of {fold_size} images"
    elif left := len(scores) % fold_size:
        notes["ranking_folds"] = f"the last {left} images are in no fold"
    baselines = {
        "ranking_chance": chance_ranking(image_index, len(scores)),
        "ranking_folds": folds,
    }
    return merge([ranking, Experiment(baselines, notes)])
