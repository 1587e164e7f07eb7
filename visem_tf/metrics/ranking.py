"""Ranking of sentences for a picture and of pictures for a sentence (paper, section 5)."""

from typing import Any

import numpy as np

DIRECTIONS = ("image_annotation", "image_search")
"""The two tasks: which sentence describes this picture, which picture this sentence describes."""

_ROWS_AT_A_TIME = 64


def ranks(scores: np.ndarray, image_index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ranks of the right answers, the best being 1.

    Ties count against the model: the right answer stands behind every wrong one of equal score, so
    that a model whose scores are all equal comes out last and not first. Beside `scores` it needs
    little memory, whatever their size.

    Args:
      scores: float [I, S] of I pictures with S sentences, the higher the better.
      image_index: int [S], the picture that each sentence describes. Pictures may have any number
        of sentences; one without any is no query, but a wrong answer to all sentences.

    Returns:
      Image annotation, int64 [pictures that have sentences], in their order: 1 + the number of
      sentences of *other* pictures that score at least as high as the picture's best one.
      Image search, int64 [S]: 1 + the number of other pictures that score at least as high.

    Raises:
      ValueError: if a shape does not fit, an index points at no picture, or a score is NaN.

    Example:
        >>> scores = np.array([[3.0, 1.0, 2.0], [0.0, 5.0, 2.0]])
        >>> annotation, search = ranks(scores, np.array([0, 1, 1]))
        >>> annotation.tolist(), search.tolist()
        ([1, 1], [1, 1, 2])
    """
    scores, image_index = np.asarray(scores), np.asarray(image_index)
    _check(scores, image_index)
    images, sentences = scores.shape
    own = scores[image_index, np.arange(sentences)]  # [S]
    if np.isnan(own).any():
        raise ValueError(f"scores must not be NaN, as in column {np.argmax(np.isnan(own))}")
    best = np.full(images, -np.inf, np.result_type(scores.dtype, np.float32))
    np.maximum.at(best, image_index, own)
    own_as_good = np.zeros(images, np.int64)
    np.add.at(own_as_good, image_index, own >= best[image_index])

    search = np.zeros(sentences, np.int64)  # itself is the 1 of the rank
    annotation = 1 - own_as_good
    for start in range(0, images, _ROWS_AT_A_TIME):
        rows = slice(start, start + _ROWS_AT_A_TIME)
        block = scores[rows]
        if np.isnan(block).any():
            row = start + np.argmax(np.isnan(block).any(axis=1))
            raise ValueError(f"scores must not be NaN, as in row {row}")
        search += np.count_nonzero(block >= own, axis=0)
        annotation[rows] += np.count_nonzero(block >= best[rows, np.newaxis], axis=1)
    return annotation[np.bincount(image_index, minlength=images) > 0], search


def ranking_metrics(scores: np.ndarray, image_index: np.ndarray) -> dict[str, dict[str, float]]:
    """Recalls and median ranks of both directions (paper, section 5).

    All given pictures and sentences are candidates; `fold_metrics` does it in folds.

    Args:
      scores: float [I, S]; see `ranks`.
      image_index: int [S], the picture that each sentence describes.

    Returns:
      For "image_annotation" (which sentence describes this picture; its best-ranked one counts)
      and "image_search" (which picture does this sentence describe): "r1", "r5", "r10", the
      percentage of queries whose right answer is among the first K, and "median_rank", 1-based;
      the median of an even number of ranks is the mean of the middle two.

    Raises:
      ValueError: see `ranks`.

    Example:
        >>> figures = ranking_metrics(np.eye(4), np.arange(4))["image_search"]
        >>> figures["r1"], figures["median_rank"]
        (100.0, 1.0)
    """
    return ranking_summary(*ranks(scores, image_index))


def ranking_summary(annotation: np.ndarray, search: np.ndarray) -> dict[str, dict[str, float]]:
    """The figures of `ranking_metrics`, from the two arrays that `ranks` gives.

    Example:
        >>> ranking_summary(np.array([1, 3]), np.array([2, 2, 9]))["image_search"]["median_rank"]
        2.0
    """
    return {"image_annotation": _summary(annotation), "image_search": _summary(search)}


def fold_metrics(
    scores: np.ndarray, image_index: np.ndarray, fold_size: int
) -> dict[str, Any] | None:
    """The figures in folds of pictures, each with its own sentences only.

    COCO's "1K" figures are the means of five folds of 1,000 in some papers, and the first fold in
    others; neither is the "5K" of `ranking_metrics`.

    Args:
      scores: float [I, S]; see `ranks`.
      image_index: int [S], the picture that each sentence describes.
      fold_size: pictures in a fold. Folds are cut in the pictures' order; what is left over at
        their end is in none.

    Returns:
      "folds" and "fold_size"; "mean", the figures of `ranking_metrics` as means over the folds
      (of median ranks too); "first", those of the first fold. None with fewer than two folds.

    Raises:
      ValueError: see `ranks`, or `fold_size` is below 1.

    Example:
        >>> figures = fold_metrics(np.eye(4), np.arange(4), fold_size=2)
        >>> figures["folds"], figures["mean"]["image_search"]["r1"]
        (2, 100.0)
    """
    if fold_size < 1:
        raise ValueError(f"fold_size must be at least 1, not {fold_size}")
    scores, image_index = np.asarray(scores), np.asarray(image_index)
    _check(scores, image_index)
    folds = len(scores) // fold_size
    if folds < 2:
        return None
    found = []
    for fold in range(folds):
        first = fold * fold_size
        mine = np.flatnonzero((image_index >= first) & (image_index < first + fold_size))
        if not len(mine):
            raise ValueError(f"fold {fold + 1} of {folds} has no sentence")
        columns = slice(mine[0], mine[-1] + 1) if np.all(np.diff(mine) == 1) else mine
        block = scores[first : first + fold_size, columns]
        found.append(ranking_metrics(block, image_index[mine] - first))
    mean = {
        direction: {name: float(np.mean([f[direction][name] for f in found])) for name in figures}
        for direction, figures in found[0].items()
    }
    return {"folds": folds, "fold_size": fold_size, "mean": mean, "first": found[0]}


def chance_ranking(image_index: np.ndarray, images: int) -> dict[str, dict[str, float]]:
    """What ranking at random is expected to reach, exactly.

    Args:
      image_index: int [S], the picture that each sentence describes.
      images: I, all candidates, those without sentences too.

    Returns:
      As `ranking_metrics`: expected recalls, and the rank that the (median) query's right answer
      is as likely to reach as not.

    Example:
        >>> figures = chance_ranking(np.repeat(np.arange(40), 5), 40)
        >>> figures["image_search"]["r10"], figures["image_search"]["median_rank"]
        (25.0, 20.5)
    """
    sentences = len(image_index)
    own = np.bincount(image_index, minlength=images)
    own = own[own > 0]
    annotation, search = {}, {}
    for k in (1, 5, 10):
        # P(no own sentence among k drawn) = prod over the draws of the share of foreign ones.
        draws = np.arange(min(k, sentences))[:, np.newaxis]
        missed = np.prod(np.maximum(sentences - own - draws, 0) / (sentences - draws), axis=0)
        annotation[f"r{k}"] = 100.0 * float(np.mean(1.0 - missed))
        search[f"r{k}"] = 100.0 * min(k, images) / images
    annotation["median_rank"] = _median_of_best(sentences, int(np.median(own)))
    search["median_rank"] = (images + 1) / 2
    return {"image_annotation": annotation, "image_search": search}


def _median_of_best(sentences: int, own: int) -> float:
    """The median rank of the best of `own` sentences in a random order of all."""
    draws = np.arange(sentences)
    missed = np.cumprod(np.maximum(sentences - own - draws, 0) / (sentences - draws))
    return float(np.argmax(missed <= 0.5) + 1)


def _summary(rank: np.ndarray) -> dict[str, float]:
    recalls = {f"r{k}": 100.0 * float(np.mean(rank <= k)) for k in (1, 5, 10)}
    return {**recalls, "median_rank": float(np.median(rank))}


def _check(scores: np.ndarray, image_index: np.ndarray) -> None:
    if scores.ndim != 2 or scores.size == 0:
        raise ValueError(f"scores must be [I, S], neither of them 0, got shape {scores.shape}")
    if scores.dtype.kind not in "fiu":
        raise ValueError(f"scores must be numbers, got {scores.dtype}")
    if image_index.shape != scores.shape[1:]:
        raise ValueError(
            f"image_index must have one entry for each of {scores.shape[1]} sentences, "
            f"got shape {image_index.shape}"
        )
    if image_index.dtype.kind not in "iu":
        raise ValueError(f"image_index must be integers, got {image_index.dtype}")
    if image_index.min() < 0 or image_index.max() >= len(scores):
        raise ValueError(
            f"image_index must be from 0 to {len(scores) - 1}, "
            f"got {image_index.min()} to {image_index.max()}"
        )
