"""Phrases with boxes: where their words stand in a sentence, and what part of the picture it is."""

from __future__ import annotations

import dataclasses
import io
import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from visem_tf.datasets.problems import listed
from visem_tf.datasets.records import Phrase, Record, tokenized

_ASPECT_TOLERANCE = 0.02


def locate(tokens: Sequence[bytes], phrase: Sequence[bytes]) -> list[int]:
    """Returns where the words of a phrase begin in a sentence, every time they occur.

    Example:
        >>> locate([b"a", b"dog", b"and", b"a", b"dog"], [b"a", b"dog"])
        [0, 3]
    """
    if not phrase:
        return []
    size = len(phrase)
    return [
        start
        for start in range(len(tokens) - size + 1)
        if list(tokens[start : start + size]) == list(phrase)
    ]


def with_positions(records: Iterable[Record], notes: list[str]) -> list[Record]:
    """Finds the words of those phrases whose place in their sentence is not known yet.

    A phrase that its sentence does not hold, or holds more than once, is dropped and listed.

    Args:
        records: pictures with phrases.
        notes: receives what was dropped.

    Returns:
        The same pictures, in order.
    """
    records = list(records)
    needed = [r for r in records if any(phrase.first < 0 for phrase in r.phrases)]
    sentences = iter(tokenized([sentence for r in needed for sentence in r.sentences]))
    phrases = iter(tokenized([phrase.text for r in needed for phrase in r.phrases]))
    absent: dict[str, bool] = {}
    repeated: list[str] = []
    found = {}
    for record in needed:
        tokens = [next(sentences) for _ in record.sentences]
        kept: list[Phrase] = []
        for phrase in record.phrases:
            words = next(phrases)
            if phrase.first >= 0:
                kept.append(phrase)
                continue
            starts = locate(tokens[phrase.sentence], words)
            sentence = "" if phrase.anywhere else f"#{phrase.sentence}"
            where = f"{phrase.text!r} of {record.image_id}{sentence}"
            # A phrase that may stand in several sentences must stand in one of them.
            absent[where] = absent.get(where, True) and not starts
            if len(starts) == 1:
                last = starts[0] + len(words) - 1
                kept.append(dataclasses.replace(phrase, first=starts[0], last=last))
            elif starts:
                repeated.append(where)
        found[record.image_id] = dataclasses.replace(record, phrases=tuple(kept))
    missing = [where for where, is_absent in absent.items() if is_absent]
    if missing:
        notes.append(f"dropped phrases that their sentences do not hold: {listed(missing)}")
    if repeated:
        notes.append(
            "dropped phrases that their sentences hold more than once, so that the place is not "
            f"known: {listed(repeated)}"
        )
    return [found.get(record.image_id, record) for record in records]


def phrase_rows(record: Record, image: bytes, notes: list[str]) -> list[dict[str, Any]]:
    """Returns the rows of the feature `phrases` of a picture that was read.

    Boxes in pixels become shares of the size they refer to. A box is cut where it leaves the
    picture; one that is empty, outside or no number is dropped. Both are listed.

    Args:
        record: the picture and its phrases.
        image: its encoded form, as of `visem_tf.images.decode.read_image`.
        notes: receives what was cut or dropped.
    """
    if not record.phrases:
        return []
    size = record.size
    if any(phrase.in_pixels for phrase in record.phrases):
        with Image.open(io.BytesIO(image)) as picture:
            actual = picture.size
        size = size or actual
        if size[0] <= 0 or size[1] <= 0 or _differ(size, actual):
            notes.append(
                f"{record.file_name}: the data say {size[0]} x {size[1]} pixels and the picture "
                f"has {actual[0]} x {actual[1]}: its {len(record.phrases)} boxes are not used"
            )
            return []
    rows, cut, dropped = [], 0, 0
    for phrase in record.phrases:
        box = np.array(phrase.box, np.float64)
        if phrase.in_pixels and size:
            box = box / [size[1], size[0], size[1], size[0]]
        inside = np.clip(box, 0.0, 1.0)
        if not (np.isfinite(box).all() and inside[0] < inside[2] and inside[1] < inside[3]):
            dropped += 1
            continue
        # A pixel beyond the border is a way of counting, not a mistake.
        slack = 1.5 / min(size) if phrase.in_pixels and size else 1e-3
        cut += bool(np.abs(inside - box).max() > slack)
        rows.append(
            {
                "sentence": np.int32(phrase.sentence),
                "first": np.int32(phrase.first),
                "last": np.int32(phrase.last),
                "text": phrase.text,
                "bbox": tfds.features.BBox(*inside.tolist()),
                "object": np.int32(phrase.object),
            }
        )
    if cut:
        notes.append(f"{record.file_name}: cut boxes that reach outside of the picture: {cut}")
    if dropped:
        notes.append(f"{record.file_name}: dropped boxes that are empty or outside: {dropped}")
    return rows


def phrases_of_objects(
    sentences: Sequence[Sequence[bytes]], objects: Sequence[tuple[str, tuple[float, ...]]]
) -> list[Phrase]:
    """Names the words that speak of an object of a known kind.

    A kind such as "dog" or "traffic light" is taken where a sentence names it, in singular or with
    an s, and the picture has exactly one object of the kind: with two of them nobody knows which is
    meant.

    Args:
        sentences: the tokens of the sentences of a picture.
        objects: the name and the pixel box (ymin, xmin, ymax, xmax) of each object.

    Example:
        >>> box = (0.0, 0.0, 9.0, 9.0)
        >>> [(p.sentence, p.first, p.text) for p in phrases_of_objects([[b"a", b"dog"]],
        ...     [("dog", box), ("cat", box), ("cat", box)])]
        [(0, 1, 'dog')]
    """
    counts: dict[str, int] = {}
    for name, _ in objects:
        counts[name] = counts.get(name, 0) + 1
    found = []
    for number, (name, box) in enumerate(objects):
        if counts[name] > 1:
            continue
        words = re.sub(r"[^\w\s]", "", name.lower()).encode().split()
        for sentence, tokens in enumerate(sentences):
            forms = [words, [*words[:-1], words[-1] + b"s"]] if words else []
            for form in forms:
                for first in locate(tokens, form):
                    last = first + len(form) - 1
                    text = b" ".join(tokens[first : last + 1]).decode()
                    ymin, xmin, ymax, xmax = box
                    found.append(
                        Phrase(sentence, text, (ymin, xmin, ymax, xmax), number, first, last)
                    )
    return found


def _differ(size: tuple[int, int], actual: tuple[int, int]) -> bool:
    """Whether two sizes have another shape, so that boxes of one are not boxes of the other."""
    ratio = (size[0] * actual[1]) / (size[1] * actual[0])
    # Small pictures are rounded to whole pixels.
    tolerance = max(_ASPECT_TOLERANCE, 1.5 / min(*size, *actual))
    return abs(ratio - 1) > tolerance
