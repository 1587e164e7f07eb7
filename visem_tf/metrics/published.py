"""Published results, to be shown beside ours where data set and split are the same, and only there.

From A. Karpathy and L. Fei-Fei, "Deep Visual-Semantic Alignments for Generating Image
Descriptions" (CVPR 2015), unless a row says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

_Row = tuple[str, dict[str, float]]


@dataclass(frozen=True)
class Published:
    """Published results on one test split.

    Attributes:
        images: Number of images of the split; another number is another split.
        witnesses: Parts of the file names of some images of the split. Another split of the same
            size is unlikely to hold all of them.
        ranking: Labels and metrics by direction.
        folds: The same, as means over folds of 1,000 images.
        captions: Labels and metrics.
        grounding: Labels and metrics of the grounding of the phrases of Flickr30k Entities.
    """

    images: int
    witnesses: tuple[str, ...]
    ranking: dict[str, list[_Row]] = field(default_factory=dict)
    folds: dict[str, list[_Row]] = field(default_factory=dict)
    captions: list[_Row] = field(default_factory=list)
    grounding: list[_Row] = field(default_factory=list)


def recognise_split(file_names: Sequence[str], num_sentences: int) -> str | None:
    """Recognises a published test split by its images, whichever data set module has read them.

    Args:
        file_names: File names of the images of a split.
        num_sentences: Number of sentences of the split; published splits have at least five per
            image.

    Returns:
        Key for `published`; None for any other split.

    Example:
        >>> recognise_split(["3385593926_d3e9c21170.jpg"], 5)
    """
    for name, split in _PUBLISHED.items():
        if len(file_names) != split.images or num_sentences < 5 * split.images:
            continue
        if all(any(part in file_name for file_name in file_names) for part in split.witnesses):
            return name
    return None


def published(metrics: Mapping[str, Any]) -> Published:
    """Returns the published results on the evaluated split; empty ones if there are none.

    Args:
        metrics: Content of `metrics.json`; its "published_split" is from `recognise_split`.
    """
    return _PUBLISHED.get(metrics.get("published_split") or "", Published(0, ()))


def _ranking(*rows: tuple[str, tuple[float, ...], tuple[float, ...]]) -> dict[str, list[_Row]]:
    """Makes rows of R@1, R@5, R@10 and, where it is published, Med r, of both directions."""
    names = ("r1", "r5", "r10", "median_rank")
    found: dict[str, list[_Row]] = {"image_annotation": [], "image_search": []}
    for label, annotation, search in rows:
        found["image_annotation"].append((label, dict(zip(names, annotation, strict=False))))
        found["image_search"].append((label, dict(zip(names, search, strict=False))))
    return found


def _captions(label: str, *values: float) -> _Row:
    names = ("bleu1", "bleu2", "bleu3", "bleu4", "meteor", "cider")
    return label, dict(zip(names, values, strict=False))


def _grounding(label: str, *recalls: float, pointing: float | None = None) -> _Row:
    names = ("r1", "r5", "r10")
    found = dict(zip(names, recalls, strict=False))
    return label, found if pointing is None else {**found, "pointing": pointing}


_BRNN = "published: BRNN"
_OURS = "published: the paper"

_PUBLISHED = {
    "flickr8k": Published(
        images=1000,
        witnesses=(
            "3385593926_d3e9c21170",
            "2677656448_6b7e7702af",
            "311146855_0b65fdb169",
            "1258913059_07c613f7ff",
            "241347760_d44c8d3a01",
            "2654514044_a70a6e2c21",
        ),
        ranking=_ranking(
            (
                f"{_BRNN} (first version of the paper)",
                (16.5, 40.6, 54.2, 7.6),
                (11.8, 32.1, 44.7, 12.4),
            ),
            ("published: Deep Fragments", (12.6, 32.9, 44.0), (9.7, 29.6, 42.5)),
            ("published: Kiros et al., VGG", (18.0, 40.9, 55.0), (12.5, 37.0, 51.5)),
            ("published: SCAN ensemble, 36 regions", (52.2, 81.0, 89.2), (38.3, 67.8, 78.9)),
        ),
        captions=[
            _captions(_OURS, 57.9, 38.3, 24.5, 16.0),
            _captions("published: Google NIC", 63.0, 41.0, 27.0),
            _captions("published: Show, Attend and Tell, hard", 67.0, 45.7, 31.4, 21.3, 20.3),
        ],
    ),
    "flickr30k": Published(
        images=1000,
        witnesses=("1007129816", "1009434119"),
        ranking=_ranking((_BRNN, (22.2, 48.2, 61.4, 4.8), (15.2, 37.7, 50.5, 9.2))),
        captions=[_captions(_OURS, 57.3, 36.9, 24.0, 15.7)],
    ),
    "flickr30k_entities": Published(  # its own split, which is not that of "flickr30k"
        images=1000,
        witnesses=("1016887272", "7162685234", "4971484184", "2193001254"),
        grounding=[
            _grounding("published: a random point", pointing=27.2),
            _grounding("published: the centre of the image", pointing=47.4),
            _grounding("published: Gupta et al., a detector's regions", pointing=74.9),
            _grounding("published: the same, trained on COCO", pointing=76.7),
        ],
    ),
    "coco": Published(
        images=5000,
        witnesses=("391895",),
        ranking=_ranking((_BRNN, (16.5, 39.2, 52.0, 9.0), (10.7, 29.6, 42.2, 14.0))),
        folds=_ranking((_BRNN, (38.4, 69.9, 80.5, 1.0), (27.4, 60.2, 74.8, 3.0))),
        captions=[
            _captions(_OURS, 62.5, 45.0, 32.1, 23.0, 19.5, 66.0),
            _captions("published: nearest neighbour", 48.0, 28.1, 16.6, 10.0, 15.7, 38.3),
        ],
    ),
}
