"""What a figure rests on, picture by picture: enough to draw the pictures again.

A confidence interval and a paired test ask what a figure would be on other pictures. Most figures
are functions of sums over pictures: a recall is hits over queries, BLEU a function of summed counts
of n-grams. For those a matrix product with weights of the pictures gives the figure of a thousand
drawings at once. A median rank is a weighted median.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from visem_tf.runtime.files import atomic_path

MEDIAN = "median"
_SEPARATOR = "|"


@dataclass(frozen=True)
class Evidence:
    """What one figure rests on.

    Attributes:
      kind: a key of `KINDS`: how sums over pictures become the figure; or "median".
      parts: float [I, C], what every picture adds to the sums; for "median", float [N, 2], the
        picture and the rank of every query.
    """

    kind: str
    parts: np.ndarray

    def values(self, weights: np.ndarray) -> np.ndarray:
        """The figure, in percent (a median in ranks), under weights of the pictures.

        Args:
          weights: float [B, I], how often each picture counts, in each of B drawings.

        Returns:
          float [B]; NaN where no query is left.

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
        """The evidence over 2 I pictures: this one's, and after them those of another system.

        Args:
          other: of the same kind and the same pictures.
          images: I.
        """
        second = other.parts
        if self.kind == MEDIAN:
            second = second + np.array([images, 0])
        return Evidence(self.kind, np.concatenate([self.parts, second]))

    def grouped(self, image_index: np.ndarray, images: int) -> Evidence:
        """The sums over items (regions, sentences) gathered by their pictures.

        Args:
          image_index: int [rows of `parts`], the picture of every item.
          images: I.
        """
        parts = np.zeros([images, self.parts.shape[1]])
        np.add.at(parts, image_index, self.parts)
        return Evidence(self.kind, parts)


def ratio(hits: np.ndarray, image_index: np.ndarray, images: int) -> Evidence:
    """Evidence of a share of queries that succeed, several a picture.

    Args:
      hits: bool or float [N].
      image_index: int [N], the picture of every query.
      images: I.
    """
    parts = np.stack([np.asarray(hits, np.float64), np.ones(len(hits))], axis=1)
    return Evidence("ratio", parts).grouped(image_index, images)


def median(ranks: np.ndarray, image_index: np.ndarray) -> Evidence:
    """Evidence of a median rank.

    Args:
      ranks: int [N].
      image_index: int [N], the picture of every query.
    """
    return Evidence(MEDIAN, np.stack([image_index, ranks], axis=1).astype(np.float64))


def ranking_evidence(
    annotation: np.ndarray, search: np.ndarray, image_index: np.ndarray, images: int
) -> dict[str, Evidence]:
    """What the figures of `ranking_summary` rest on, by dotted name.

    The pictures that are drawn are those of the queries; the candidates stay.

    Args:
      annotation: int, ranks of the pictures that have sentences; see `visem_tf.metrics.ranks`.
      search: int [S].
      image_index: int [S], the picture of every sentence.
      images: I.
    """
    found = {}
    queried = np.flatnonzero(np.bincount(image_index, minlength=images))
    for direction, rank, where in (
        ("image_annotation", annotation, queried),
        ("image_search", search, image_index),
    ):
        for k in (1, 5, 10):
            found[f"{direction}.r{k}"] = ratio(rank <= k, where, images)
        found[f"{direction}.median_rank"] = median(rank, where)
    return found


def save_evidence(
    path: str | os.PathLike[str], evidence: Mapping[str, Evidence], image_ids: list[str]
) -> None:
    """Writes evidence and the names of its pictures, whole or not at all.

    Args:
      path: ends in `.npz`.
      evidence: by dotted name.
      image_ids: I names, in the order of `parts`.
    """
    arrays: dict[str, Any] = {
        f"{name}{_SEPARATOR}{e.kind}": e.parts for name, e in evidence.items()
    }
    arrays["image_ids"] = np.array(image_ids, np.str_)
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, **arrays)


def load_evidence(path: str | os.PathLike[str]) -> tuple[dict[str, Evidence], list[str]]:
    """Reads what `save_evidence` wrote: evidence by name, and the pictures' names.

    Raises:
      OSError: the file is missing.
      ValueError: it is no such file.
    """
    try:
        with np.load(Path(path), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        image_ids = [str(image_id) for image_id in arrays.pop("image_ids")]
    except (KeyError, EOFError) as error:
        raise ValueError(f"it holds no evidence ({error})") from error
    except Exception as error:  # a damaged archive raises errors of zipfile and zlib
        if isinstance(error, OSError):
            raise
        raise ValueError(f"it is damaged ({error})") from error
    evidence = {}
    for key, parts in arrays.items():
        name, _, kind = key.partition(_SEPARATOR)
        evidence[name] = Evidence(kind, parts)
    return evidence, image_ids


def _ratio(sums: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return 100.0 * sums[:, 0] / sums[:, 1]


def _bleu(order: int) -> Callable[[np.ndarray], np.ndarray]:
    """BLEU as pycocoevalcap computes it, from sums over pictures.

    Its columns: n-grams said for n = 1 … 4, those that are right, words said, words of the
    closest reference.
    """
    small, tiny = 1e-9, 1e-15

    def figure(sums: np.ndarray) -> np.ndarray:
        said, right = sums[:, :order], sums[:, 4 : 4 + order]
        precision = np.prod((right + tiny) / (said + small), axis=1) ** (1 / order)
        length = (sums[:, 8] + tiny) / (sums[:, 9] + small)
        return 100.0 * precision * np.exp(np.minimum(1 - 1 / length, 0))

    return figure


def _meteor(sums: np.ndarray) -> np.ndarray:
    from visem_tf.metrics.meteor import meteor_of_statistics

    return 100.0 * meteor_of_statistics(sums)


KINDS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "ratio": _ratio,
    **{f"bleu{n}": _bleu(n) for n in (1, 2, 3, 4)},
    "meteor": _meteor,
}
"""How sums over pictures, float [B, C], become a figure in percent, float [B]."""


def _weighted_median(parts: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The median of ranks that count as often as their pictures; the mean of the middle two."""
    order = np.argsort(parts[:, 1], kind="stable")
    rank, picture = parts[order, 1], parts[order, 0].astype(np.int64)
    up_to = np.cumsum(weights[:, picture], axis=1)  # [B, N]
    total = up_to[:, -1:]
    # The lower and the upper of the middle two: the first places that reach half, and pass it.
    lower = np.argmax(up_to >= total / 2, axis=1)
    upper = np.argmax(up_to > total / 2, axis=1)
    found = (rank[lower] + rank[upper]) / 2
    return np.where(total[:, 0] > 0, found, np.nan)
