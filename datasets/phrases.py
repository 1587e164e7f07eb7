"""Phrases with boxes: the position of their words in a sentence, and their box in the image."""

import collections
import dataclasses
import io
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from visem_tf.datasets.problems import add_listed
from visem_tf.datasets.records import Box, Phrase, Record, tokenized, tokens_of_records

_ASPECT_TOLERANCE = 0.02
_MAX_SIDE = 1 << 31


def locate(tokens: Sequence[bytes], phrase: Sequence[bytes]) -> list[int]:
    """Returns the positions of a sentence at which a phrase begins.

    Example:
        >>> locate([b"a", b"dog", b"and", b"a", b"dog"], [b"a", b"dog"])
        [0, 3]
    """
    size = len(phrase)
    starts = range(len(tokens) - size + 1) if size else ()
    return [start for start in starts if list(tokens[start : start + size]) == list(phrase)]


def with_positions(records: Sequence[Record], notes: list[str]) -> list[Record]:
    """Finds the words of the phrases whose position in their sentence is not known yet.

    A phrase that its sentence does not contain is dropped and listed, and so is one that it
    contains more than once, unless one of them begins at its `first`.

    Args:
        records: Images with phrases.
        notes: List that receives what was dropped.

    Returns:
        The images in the same order.
    """
    searched = [r for r in records if any(phrase.last < 0 for phrase in r.phrases)]
    phrases = iter(tokenized([phrase.text for r in searched for phrase in r.phrases]))
    # Of several sentences that may contain a phrase, one must contain it.
    is_absent: dict[str, bool] = {}
    repeated: list[str] = []
    found = {}
    for record, tokens in zip(searched, tokens_of_records(searched), strict=True):
        kept: list[Phrase] = []
        for phrase in record.phrases:
            words = next(phrases)
            if phrase.last >= 0:
                kept.append(phrase)
                continue
            starts = locate(tokens[phrase.sentence], words)
            if phrase.first in starts:
                starts = [phrase.first]
            sentence = "" if phrase.anywhere else f"#{phrase.sentence}"
            name = f"{phrase.text!r} of {record.image_id}{sentence}"
            is_absent[name] = is_absent.get(name, True) and not starts
            if len(starts) == 1:
                last = starts[0] + len(words) - 1
                kept.append(dataclasses.replace(phrase, first=starts[0], last=last))
            elif starts:
                repeated.append(name)
        found[record.image_id] = dataclasses.replace(record, phrases=kept)
    absent = [name for name, value in is_absent.items() if value]
    add_listed(notes, "dropped phrases that their sentences do not contain", absent)
    add_listed(
        notes,
        "dropped phrases that their sentences contain more than once, so that the position is not "
        "known",
        repeated,
    )
    return [found.get(record.image_id, record) for record in records]


def phrase_rows(record: Record, image: bytes, notes: list[str]) -> list[dict[str, Any]]:
    """Returns the values of the feature `phrases` for an image that was read.

    Boxes in pixels become relative to the size they refer to. A box that reaches out of the image
    is cut; a box that is empty, swapped, outside or not finite is dropped. Both are listed.

    Args:
        record: Image and its phrases.
        image: The encoded image, as `visem_tf.images.decode.read_image` returns it.
        notes: List that receives what was cut or dropped.
    """
    if not record.phrases:
        return []
    size = None
    if any(phrase.in_pixels for phrase in record.phrases):
        with Image.open(io.BytesIO(image)) as opened:
            actual = opened.size
        size = record.size or actual
        is_squashed = record.may_be_squashed and actual[0] == actual[1]
        is_size = min(size) > 0 and max(size) <= _MAX_SIDE
        if not is_size or (_aspects_differ(size, actual) and not is_squashed):
            notes.append(
                f"{record.file_name}: the data give {size[0]} x {size[1]} pixels and the image "
                f"has {actual[0]} x {actual[1]}: its {len(record.phrases)} boxes are not used"
            )
            return []
    rows, cut, dropped = [], 0, 0
    for phrase in record.phrases:
        box, slack = np.array(phrase.box, np.float64), 1e-3
        if phrase.in_pixels and size:
            box = box / [size[1], size[0], size[1], size[0]]
            slack = 1.5 / min(size)  # some tools count the pixel beyond the border
        inside = np.clip(box, 0.0, 1.0)
        if not (np.isfinite(box).all() and inside[0] < inside[2] and inside[1] < inside[3]):
            dropped += 1
            continue
        cut += bool(np.abs(inside - box).max() > slack)
        rows.append(
            {
                "sentence": np.int32(phrase.sentence),
                "first": np.int32(phrase.first),
                "last": np.int32(phrase.last),
                "text": phrase.text,
                "bbox": tfds.features.BBox(*inside.tolist()),
                "object": np.int32(phrase.object),
                "type": phrase.type,
            }
        )
    if cut:
        notes.append(f"{record.file_name}: cut boxes that reach out of the image: {cut}")
    if dropped:
        notes.append(
            f"{record.file_name}: dropped boxes that are empty, swapped or outside: {dropped}"
        )
    return rows


def next_object(phrases: Sequence[Phrase]) -> int:
    """Returns the number for a further object of an image, above those of its phrases."""
    return max((phrase.object for phrase in phrases), default=-1) + 1


def phrases_of_objects(
    sentences: Sequence[Sequence[bytes]],
    objects: Sequence[tuple[str, Box]],
    *,
    first_object: int = 0,
) -> list[Phrase]:
    """Returns the words of sentences that name an object of a known category.

    A category such as "dog" or "traffic light" is searched in singular and with an s, and only if
    the image has exactly one object of it: with two objects the words do not say which one is
    meant.

    Args:
        sentences: Tokens of the sentences of an image.
        objects: Category and box of each object.
        first_object: Number of the first object.

    Example:
        >>> box = (0.0, 0.0, 9.0, 9.0)
        >>> [(p.sentence, p.first, p.text) for p in phrases_of_objects([[b"a", b"dog"]],
        ...     [("dog", box), ("cat", box), ("cat", box)])]
        [(0, 1, 'dog')]
    """
    counts = collections.Counter(category for category, _ in objects)
    found = []
    for number, (category, box) in enumerate(objects, start=first_object):
        words = re.sub(r"[^\w\s]", "", category.lower()).encode().split()
        if counts[category] > 1 or not words:
            continue
        for sentence, tokens in enumerate(sentences):
            for form in (words, [*words[:-1], words[-1] + b"s"]):
                for first in locate(tokens, form):
                    text, last = b" ".join(form).decode(), first + len(form) - 1
                    found.append(Phrase(sentence, text, box, number, first, last))
    return found


def _aspects_differ(size: tuple[int, int], actual: tuple[int, int]) -> bool:
    """Returns whether two sizes have other aspect ratios, so that a box cannot refer to both."""
    ratio = (size[0] * actual[1]) / (size[1] * actual[0])
    # Sizes of small images are rounded to whole pixels.
    tolerance = max(_ASPECT_TOLERANCE, 1.5 / min(*size, *actual))
    return abs(ratio - 1) > tolerance
