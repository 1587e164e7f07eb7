"""Ranking of sentences for an image and of images for a sentence (paper, section 4.1)."""

from typing import Any

import numpy as np

from visem_tf.metrics.resampling import Evidence, median, ratio

DIRECTIONS = ("image_annotation", "image_search")
"""The two tasks: find a sentence of an image, and find the image of a sentence."""

_RECALLS = (1, 5, 10)
_ROWS_PER_BLOCK = 64


def ranks(scores: np.ndarray, image_index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Computes the ranks of the correct answers, the best rank being 1.

    Ties count against the model: the correct answer is placed after every wrong one of equal score,
    so that a model whose scores are all equal gets the worst ranks. The memory needed beside
    `scores` is small, whatever their size.

    Args:
        scores: Float array [I, S] of I images with S sentences, the higher the better.
        image_index: Integer array [S], the image of every sentence. Images may have any number of
            sentences; one without any is not a query, but a wrong answer for all sentences.

    Returns:
        annotation: Integer array [images that have sentences], in their order: 1 + the number of
            sentences of *other* images that score at least as high as the best one of the image.
        search: Integer array [S]: 1 + the number of other images that score at least as high.

    Raises:
        ValueError: If a score is NaN.

    Example:
        >>> scores = np.array([[3.0, 1.0, 2.0], [0.0, 5.0, 2.0]])
        >>> annotation, search = ranks(scores, np.array([0, 1, 1]))
        >>> annotation.tolist(), search.tolist()
        ([1, 1], [1, 1, 2])
    """
    images, sentences = scores.shape
    own = scores[image_index, np.arange(sentences)]  # [S]
    best = np.full(images, -np.inf, np.result_type(scores.dtype, np.float32))
    np.maximum.at(best, image_index, own)
    own_as_good = np.zeros(images, np.int64)
    np.add.at(own_as_good, image_index, own >= best[image_index])

    search = np.zeros(sentences, np.int64)  # the correct image itself is the 1 of the rank
    annotation = 1 - own_as_good
    for start in range(0, images, _ROWS_PER_BLOCK):
        rows = slice(start, start + _ROWS_PER_BLOCK)
        block = scores[rows]
        if np.isnan(block).any():
            row = start + np.argmax(np.isnan(block).any(axis=1))
            raise ValueError(f"scores must not be NaN, as in row {row}")
        search += np.count_nonzero(block >= own, axis=0)
        annotation[rows] += np.count_nonzero(block >= best[rows, np.newaxis], axis=1)
    return annotation[np.bincount(image_index, minlength=images) > 0], search


def ranking_metrics(scores: np.ndarray, image_index: np.ndarray) -> dict[str, dict[str, float]]:
    """Computes recalls and median ranks of both directions.

    All images and sentences are candidates; `fold_metrics` ranks within folds.

    Args:
        scores: Float array [I, S]; see `ranks`.
        image_index: Integer array [S], the image of every sentence.

    Returns:
        For "image_annotation" (the best-ranked sentence of an image counts) and "image_search":
        "r1", "r5", "r10", the percentage of queries whose correct answer is among the first K, and
        "median_rank", 1-based. The median of an even number of ranks is the mean of the middle
        two.

    Raises:
        ValueError: See `ranks`.

    Example:
        >>> search = ranking_metrics(np.eye(4), np.arange(4))["image_search"]
        >>> search["r1"], search["median_rank"]
        (100.0, 1.0)
    """
    return ranking_summary(*ranks(scores, image_index))


def ranking_summary(annotation: np.ndarray, search: np.ndarray) -> dict[str, dict[str, float]]:
    """Computes the result of `ranking_metrics` from the two arrays that `ranks` returns.

    Example:
        >>> ranking_summary(np.array([1, 3]), np.array([2, 2, 9]))["image_search"]["median_rank"]
        2.0
    """
    return {
        direction: {
            **{f"r{k}": 100.0 * float(np.mean(rank <= k)) for k in _RECALLS},
            "median_rank": float(np.median(rank)),
        }
        for direction, rank in zip(DIRECTIONS, (annotation, search), strict=True)
    }


def ranking_evidence(
    annotation: np.ndarray, search: np.ndarray, image_index: np.ndarray, images: int
) -> dict[str, Evidence]:
    """Makes the per-image evidence of the metrics of `ranking_summary`.

    Resampling draws the images of the queries; the candidates stay the same.

    Args:
        annotation: Integer array, ranks of the images that have sentences; see `ranks`.
        search: Integer array [S].
        image_index: Integer array [S], the image of every sentence.
        images: I, the number of images.

    Returns:
        Evidence by dotted name, such as "image_search.r1".
    """
    queried = np.flatnonzero(np.bincount(image_index, minlength=images))
    found = {}
    for direction, rank, where in zip(
        DIRECTIONS, (annotation, search), (queried, image_index), strict=True
    ):
        for k in _RECALLS:
            found[f"{direction}.r{k}"] = ratio(rank <= k, where, images)
        found[f"{direction}.median_rank"] = median(rank, where)
    return found


def fold_metrics(
    scores: np.ndarray, image_index: np.ndarray, fold_size: int
) -> dict[str, Any] | None:
    """Computes the metrics in folds of images, each with its own sentences only.

    The "1K" results on COCO are the means of five folds of 1,000 images in some papers, and the
    first fold in others; neither compares with the "5K" of `ranking_metrics`.

    Args:
        scores: Float array [I, S]; see `ranks`.
        image_index: Integer array [S], the image of every sentence.
        fold_size: Number of images in a fold. Folds are cut in the order of the images; the
            remaining images at the end are in no fold.

    Returns:
        "folds" and "fold_size"; "mean", the metrics of `ranking_metrics` as means over the folds
        (of median ranks too); "first", those of the first fold. None with fewer than two folds.

    Raises:
        ValueError: See `ranks`; or if `fold_size` is below 1, or a fold has no sentence.

    Example:
        >>> metrics = fold_metrics(np.eye(4), np.arange(4), fold_size=2)
        >>> metrics["folds"], metrics["mean"]["image_search"]["r1"]
        (2, 100.0)
    """
    if fold_size < 1:
        raise ValueError(f"fold_size must be at least 1, not {fold_size}")
    folds = len(scores) // fold_size
    if folds < 2:
        return None
    found = []
    for fold in range(folds):
        first = fold * fold_size
        own = np.flatnonzero((image_index >= first) & (image_index < first + fold_size))
        if not len(own):
            raise ValueError(f"fold {fold + 1} of {folds} has no sentence")
        columns = slice(own[0], own[-1] + 1) if np.all(np.diff(own) == 1) else own  # spares a copy
        block = scores[first : first + fold_size, columns]
        found.append(ranking_metrics(block, image_index[own] - first))
    mean = {
        direction: {name: float(np.mean([f[direction][name] for f in found])) for name in metrics}
        for direction, metrics in found[0].items()
    }
    return {"folds": folds, "fold_size": fold_size, "mean": mean, "first": found[0]}


def chance_ranking(image_index: np.ndarray, images: int) -> dict[str, dict[str, float]]:
    """Computes the expected metrics of a random ranking, exactly.

    Args:
        image_index: Integer array [S], the image of every sentence.
        images: I, all candidates, also those without sentences.

    Returns:
        As `ranking_metrics`: expected recalls, and as median rank the smallest rank that the
        correct answer of the (median) query reaches with a probability of at least a half.

    Example:
        >>> metrics = chance_ranking(np.repeat(np.arange(40), 5), 40)
        >>> metrics["image_search"]["r10"], metrics["image_search"]["median_rank"]
        (25.0, 20.5)
    """
    sentences = len(image_index)
    own = np.bincount(image_index, minlength=images)
    own = own[own > 0]
    annotation, search = {}, {}
    for k in _RECALLS:
        missed = _missed(sentences, own, min(k, sentences))[-1]
        annotation[f"r{k}"] = 100.0 * float(np.mean(1.0 - missed))
        search[f"r{k}"] = 100.0 * min(k, images) / images
    missed = _missed(sentences, int(np.median(own)), sentences)
    annotation["median_rank"] = float(np.argmax(missed <= 0.5) + 1)
    search["median_rank"] = (images + 1) / 2
    return {"image_annotation": annotation, "image_search": search}


def _missed(sentences: int, own: np.ndarray | int, draws: int) -> np.ndarray:
    """Returns the probability that none of `own` sentences is among the first 1 … `draws`."""
    before = np.arange(draws).reshape(-1, *[1] * np.ndim(own))
    others = np.maximum(sentences - own - before, 0) / (sentences - before)
    return np.cumprod(others, axis=0)
