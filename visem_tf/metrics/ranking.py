"""Ranking of sentences for a picture and of pictures for a sentence (paper, section 5)."""

import numpy as np


def ranks(scores: np.ndarray, image_index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ranks of the right answers, the best being 1.

    Ties count against the model: the right answer stands behind every wrong one of equal score, so
    that a model whose scores are all equal comes out last and not first.

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
    own = scores[image_index, np.arange(len(image_index))]  # [S]
    search = np.sum(scores >= own, axis=0)  # itself is the 1 of the rank

    best = np.full(len(scores), -np.inf)
    np.maximum.at(best, image_index, own)
    own_as_good = np.zeros(len(scores), np.int64)
    np.add.at(own_as_good, image_index, own >= best[image_index])
    annotation = 1 + np.sum(scores >= best[:, np.newaxis], axis=1) - own_as_good
    return annotation[np.bincount(image_index, minlength=len(scores)) > 0], search


def ranking_metrics(scores: np.ndarray, image_index: np.ndarray) -> dict[str, dict[str, float]]:
    """Recalls and median ranks of both directions (paper, section 5).

    All given pictures and sentences are candidates. COCO's "1K" figures are means over folds of
    1,000 pictures in some papers and of one fold in others: give the fold you mean.

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
    annotation, search = ranks(scores, image_index)
    return {"image_annotation": _summary(annotation), "image_search": _summary(search)}


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
    if np.isnan(scores).any():
        raise ValueError(f"scores must not be NaN, got {np.isnan(scores).sum()} of them")
