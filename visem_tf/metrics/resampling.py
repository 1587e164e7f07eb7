"""Bootstrap confidence intervals, and a paired test between two systems.

Both need to know what a metric would be on other images. Most metrics are functions of sums over
images: a recall is hits divided by queries, BLEU is a function of summed n-gram counts. For those,
one matrix product of image weights with per-image evidence gives the metric of a thousand resamples
at once. A median rank is a weighted median.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from visem_tf.metrics.meteor import meteor_of_statistics
from visem_tf.runtime.arrays import read_arrays
from visem_tf.runtime.files import atomic_path

MEDIAN = "median"
_LEVEL = 0.95  # share of the resamples inside an interval
_SEPARATOR = "|"
_WEIGHTS_PER_BLOCK = 800_000  # bounds the memory: resamples of a block times images


@dataclass(frozen=True)
class Evidence:
    """Per-image evidence of one metric.

    Attributes:
        kind: Key of `KINDS`, the function from sums over images to the metric; or "median".
        parts: Float array [I, C], what every image adds to the sums; for "median" float array
            [N, 2], the image and the rank of every query.
    """

    kind: str
    parts: np.ndarray

    def values(self, weights: np.ndarray) -> np.ndarray:
        """Computes the metric under weights of the images.

        Args:
            weights: Array [B, I], how often each image counts in each of B resamples.

        Returns:
            Float array [B] in percent (in ranks for a median); NaN where no query is left.

        Example:
            >>> hits = Evidence("ratio", np.array([[1, 1], [0, 1], [1, 2]]))
            >>> hits.values(np.array([[1, 1, 1], [2, 0, 0]])).tolist()
            [50.0, 100.0]
        """
        weights = np.asarray(weights, np.float64)
        if self.kind == MEDIAN:
            return _weighted_median(self.parts, weights)
        return KINDS[self.kind](weights @ self.parts)

    def beside(self, other: Evidence, images: int) -> Evidence:
        """Returns the evidence over 2 I images: these, followed by those of another system.

        Args:
            other: Evidence of the same kind on the same images.
            images: I, the number of images.
        """
        offset = np.array([images, 0]) if self.kind == MEDIAN else 0
        return Evidence(self.kind, np.concatenate([self.parts, other.parts + offset]))

    def grouped(self, image_index: np.ndarray, images: int) -> Evidence:
        """Sums the evidence of items, such as regions or sentences, over their images.

        Args:
            image_index: Integer array, the image of every row of `parts`.
            images: I, the number of images.
        """
        parts = np.zeros([images, self.parts.shape[1]])
        np.add.at(parts, image_index, self.parts)
        return Evidence(self.kind, parts)


def ratio(hits: np.ndarray, image_index: np.ndarray, images: int) -> Evidence:
    """Makes the evidence of a percentage of queries that succeed.

    Args:
        hits: Boolean or float array [N].
        image_index: Integer array [N], the image of every query.
        images: I, the number of images.
    """
    parts = np.stack([np.asarray(hits, np.float64), np.ones(len(hits))], axis=1)
    return Evidence("ratio", parts).grouped(image_index, images)


def median(ranks: np.ndarray, image_index: np.ndarray) -> Evidence:
    """Makes the evidence of a median rank.

    Args:
        ranks: Integer array [N].
        image_index: Integer array [N], the image of every query.
    """
    return Evidence(MEDIAN, np.stack([image_index, ranks], axis=1).astype(np.float64))


@dataclass(frozen=True)
class Difference:
    """Difference of a metric between two systems on the same images.

    Attributes:
        first: Value of the first system.
        second: Value of the second system.
        difference: first - second.
        low: Lower end of the 95 % bootstrap interval of the difference.
        high: Upper end of that interval.
        p: Two-sided p-value of a permutation test: how often a difference at least as large
            results when the answers of the two systems are exchanged image by image at random.
            At least 1 / (1 + resamples).
    """

    first: float
    second: float
    difference: float
    low: float
    high: float
    p: float


def intervals(
    evidence: Mapping[str, Evidence],
    images: int,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, tuple[float, float]]:
    """Computes 95 % percentile intervals of metrics by bootstrap over images.

    An image is drawn with all its sentences, regions and phrases. The candidates of a ranking, and
    the word weights of CIDEr, stay those of all images.

    Args:
        evidence: Evidence by the name of the metric.
        images: I, the number of images.
        resamples: Number of bootstrap resamples.
        seed: Seed of the resamples, which are the same for all metrics.

    Returns:
        Lower and upper end by name, in percent (in ranks for a median).

    Example:
        >>> hits = ratio(np.arange(100) < 30, np.arange(100), 100)
        >>> low, high = intervals({"r1": hits}, 100)["r1"]
        >>> 18 < low < 30 < high < 42
        True
    """
    values: dict[str, list[np.ndarray]] = {name: [] for name in evidence}
    for weights in _bootstrap_weights(images, resamples, seed):
        for name, found in evidence.items():
            values[name].append(found.values(weights))
    ends = {name: _percentiles(blocks) for name, blocks in values.items()}
    return {name: found for name, found in ends.items() if np.isfinite(found[0])}


def differences(
    first: Mapping[str, Evidence],
    second: Mapping[str, Evidence],
    images: int,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Difference]:
    """Compares two systems on the same images, metric by metric.

    Args:
        first: Evidence of the first system by name.
        second: Evidence of the second system on the same images in the same order. Names that
            only one of them has are left out.
        images: I, the number of images.
        resamples: Number of resamples of the interval, and of permutations of the test.
        seed: Seed of both.

    Raises:
        ValueError: If the two have evidence of different kinds under one name.
    """
    names = [name for name in first if name in second]
    for name in names:
        if first[name].kind != second[name].kind:
            raise ValueError(f"{name} is of kind {first[name].kind} and of {second[name].kind}")
    both = {name: first[name].beside(second[name], images) for name in names}
    one = np.ones([1, images])
    observed = {n: (float(first[n].values(one)[0]), float(second[n].values(one)[0])) for n in names}
    resampled: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for weights in _bootstrap_weights(images, resamples, seed):
        for name in names:
            resampled[name].append(first[name].values(weights) - second[name].values(weights))
    exceeding = dict.fromkeys(names, 0)
    for own in _permutations(images, resamples, seed + 1):
        kept, exchanged = np.hstack([own, 1 - own]), np.hstack([1 - own, own])
        for name in names:
            by_chance = both[name].values(kept) - both[name].values(exchanged)
            difference = abs(observed[name][0] - observed[name][1])
            exceeding[name] += int(np.sum(np.abs(by_chance) >= difference - 1e-9))
    return {
        name: Difference(
            a,
            b,
            a - b,
            *_percentiles(resampled[name]),
            (1 + exceeding[name]) / (1 + resamples),
        )
        for name, (a, b) in observed.items()
    }


def save_evidence(
    path: str | os.PathLike[str], evidence: Mapping[str, Evidence], image_ids: list[str]
) -> None:
    """Writes evidence and the ids of its images into one file.

    Args:
        path: Path that ends in `.npz`.
        evidence: Evidence by dotted name.
        image_ids: Ids of the I images, in the order of `parts`.
    """
    arrays: dict[str, Any] = {
        f"{name}{_SEPARATOR}{e.kind}": e.parts for name, e in evidence.items()
    }
    arrays["image_ids"] = np.array(image_ids, np.str_)
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, **arrays)


def load_evidence(path: str | os.PathLike[str]) -> tuple[dict[str, Evidence], list[str]]:
    """Reads what `save_evidence` wrote: evidence by name, and the image ids.

    Raises:
        OSError: If the file is missing.
        ValueError: If it is not such a file.
    """
    try:
        arrays = read_arrays(path)
        image_ids = [str(image_id) for image_id in arrays.pop("image_ids")]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"it is damaged or holds no evidence ({error})") from error
    evidence = {}
    for key, parts in arrays.items():
        name, _, kind = key.partition(_SEPARATOR)
        evidence[name] = Evidence(kind, parts)
    return evidence, image_ids


def _ratio(sums: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return 100.0 * sums[:, 0] / sums[:, 1]


def _bleu(order: int, sums: np.ndarray) -> np.ndarray:
    """BLEU as pycocoevalcap computes it, from sums over images.

    Their columns: n-grams of the captions for n = 1 … 4, those that a reference has, words of the
    captions, words of the closest references.
    """
    small, tiny = 1e-9, 1e-15
    said, right = sums[:, :order], sums[:, 4 : 4 + order]
    precision = np.prod((right + tiny) / (said + small), axis=1) ** (1 / order)
    length = (sums[:, 8] + tiny) / (sums[:, 9] + small)
    return 100.0 * precision * np.exp(np.minimum(1 - 1 / length, 0))


KINDS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "ratio": _ratio,
    **{f"bleu{n}": functools.partial(_bleu, n) for n in (1, 2, 3, 4)},
    "meteor": lambda sums: 100.0 * meteor_of_statistics(sums),
}
"""Functions from sums over images, float [B, C], to a metric in percent, float [B]."""


def _weighted_median(parts: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Computes the median of ranks that count as often as their images."""
    order = np.argsort(parts[:, 1], kind="stable")
    rank, image = parts[order, 1], parts[order, 0].astype(np.int64)
    up_to = np.cumsum(weights[:, image], axis=1)  # [B, N]
    total = up_to[:, -1:]
    # The median is the mean of the middle two: the first ranks to reach half, and to exceed it.
    lower = np.argmax(up_to >= total / 2, axis=1)
    upper = np.argmax(up_to > total / 2, axis=1)
    return np.where(total[:, 0] > 0, (rank[lower] + rank[upper]) / 2, np.nan)


def _percentiles(blocks: list[np.ndarray]) -> tuple[float, float]:
    """Returns both ends of an interval; NaN if the metric has no value in any resample."""
    values = np.concatenate(blocks)
    values = values[np.isfinite(values)]  # a resample may have no query of a rare kind
    if not len(values):
        return float("nan"), float("nan")
    tail = 100 * (1 - _LEVEL) / 2
    low, high = np.percentile(values, [tail, 100 - tail])
    return float(low), float(high)


def _bootstrap_weights(images: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Yields how often each image is drawn, float [block, I]."""
    generator = np.random.default_rng(seed)
    for size in _blocks(images, resamples):
        yield generator.multinomial(images, np.full(images, 1 / images), size).astype(np.float64)


def _permutations(images: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Yields whether each image keeps its own answers, 0 or 1, float [block, I]."""
    generator = np.random.default_rng(seed)
    for size in _blocks(images, resamples):
        yield generator.integers(0, 2, [size, images]).astype(np.float64)


def _blocks(images: int, resamples: int) -> Iterator[int]:
    largest = max(1, _WEIGHTS_PER_BLOCK // images)
    for start in range(0, resamples, largest):
        yield min(largest, resamples - start)
