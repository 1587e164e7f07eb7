"""Confidence intervals by bootstrap over pictures, and a paired test between two systems."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from visem_tf.metrics.evidence import Evidence

_NUMBERS_AT_A_TIME = 4_000_000  # what bounds the memory: the drawings of a block times the pictures


@dataclass(frozen=True)
class Difference:
    """A figure of one system less that of another on the same pictures.

    Attributes:
      first: the figure of the first system.
      second: that of the second.
      difference: first - second.
      low: lower end of the difference's 95 % interval, by drawing pictures with replacement.
      high: its upper end.
      p: two-sided, by exchanging the two systems' answers picture by picture at random: how often
        chance alone brings a difference this large. At least 1 / (1 + drawings).
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
    level: float = 0.95,
) -> dict[str, tuple[float, float]]:
    """Percentile intervals of figures, by drawing pictures with replacement.

    A picture brings all its sentences, regions and phrases. Candidates of a ranking, and CIDEr's
    word weights, stay those of all pictures.

    Args:
      evidence: by name of the figure.
      images: I.
      resamples: drawings.
      seed: of the drawings; the same for all figures.
      level: share of the drawings inside.

    Returns:
      Lower and upper end by name, in percent (ranks for a median).

    Example:
        >>> from visem_tf.metrics.evidence import ratio
        >>> hits = ratio(np.arange(100) < 30, np.arange(100), 100)
        >>> low, high = intervals({"r1": hits}, 100)["r1"]
        >>> 18 < low < 30 < high < 42
        True
    """
    found: dict[str, list[np.ndarray]] = {name: [] for name in evidence}
    for weights in _drawings(images, resamples, seed):
        for name, figure in evidence.items():
            found[name].append(figure.values(weights))
    tail = 100 * (1 - level) / 2
    ends = {}
    for name, blocks in found.items():
        values = np.concatenate(blocks)
        values = values[np.isfinite(values)]  # a drawing may have no query of a rare kind
        if len(values):
            low, high = np.percentile(values, [tail, 100 - tail])
            ends[name] = (float(low), float(high))
    return ends


def differences(
    first: Mapping[str, Evidence],
    second: Mapping[str, Evidence],
    images: int,
    *,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Difference]:
    """Compares two systems on the same pictures, figure by figure.

    Args:
      first: evidence by name.
      second: of the same pictures in the same order; names that only one has are left out.
      images: I.
      resamples: drawings of the interval, and exchanges of the test.
      seed: of both.
      level: of the interval.

    Raises:
      ValueError: two figures of one name are of different kinds.
    """
    names = [name for name in first if name in second]
    for name in names:
        if first[name].kind != second[name].kind:
            raise ValueError(f"{name} is of kind {first[name].kind} and of {second[name].kind}")
    both = {name: first[name].beside(second[name], images) for name in names}
    one = np.ones([1, images])
    found: dict[str, tuple[float, float]] = {
        name: (float(first[name].values(one)[0]), float(second[name].values(one)[0]))
        for name in names
    }
    drawn: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for weights in _drawings(images, resamples, seed):
        for name in names:
            drawn[name].append(first[name].values(weights) - second[name].values(weights))
    exceeds = dict.fromkeys(names, 0)
    for mine in _exchanges(images, resamples, seed + 1):
        kept, exchanged = np.hstack([mine, 1 - mine]), np.hstack([1 - mine, mine])
        for name in names:
            by_chance = both[name].values(kept) - both[name].values(exchanged)
            observed = abs(found[name][0] - found[name][1])
            exceeds[name] += int(np.sum(np.abs(by_chance) >= observed - 1e-9))
    tail = 100 * (1 - level) / 2
    result = {}
    for name in names:
        values = np.concatenate(drawn[name])
        values = values[np.isfinite(values)]
        low, high = np.percentile(values, [tail, 100 - tail]) if len(values) else (np.nan, np.nan)
        a, b = found[name]
        p = (1 + exceeds[name]) / (1 + resamples)
        result[name] = Difference(a, b, a - b, float(low), float(high), p)
    return result


def _drawings(images: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """How often each picture is drawn, float [block, I], in blocks."""
    generator = np.random.default_rng(seed)
    for size in _blocks(images, resamples):
        yield generator.multinomial(images, np.full(images, 1 / images), size).astype(np.float64)


def _exchanges(images: int, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Whether each picture keeps its own answers, 0 or 1, float [block, I], in blocks."""
    generator = np.random.default_rng(seed)
    for size in _blocks(images, resamples):
        yield generator.integers(0, 2, [size, images]).astype(np.float64)


def _blocks(images: int, resamples: int) -> Iterator[int]:
    largest = max(1, _NUMBERS_AT_A_TIME // (5 * images))  # five sentences a picture
    for start in range(0, resamples, largest):
        yield min(largest, resamples - start)
