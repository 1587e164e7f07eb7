"""Captions in JSON lines: an object a line, for an image or for a sentence."""

import collections
import dataclasses
import json
from typing import Any

from visem_tf.datasets.formats.coco import corners
from visem_tf.datasets.formats.text import read_lines
from visem_tf.datasets.phrases import next_object
from visem_tf.datasets.problems import add_listed
from visem_tf.datasets.records import Phrase, Record
from visem_tf.runtime.storage import AnyPath

_NAMES = ("image", "file_name")
TEXTS = ("sentences", "captions", "sentence", "caption", "text")
"""The fields that may be the sentences of an image."""
_MAX_OBJECT = 1 << 24


def read_json_lines(path: AnyPath, images: AnyPath, notes: list[str]) -> list[Record]:
    """Reads a file of JSON lines; the lines of one image and one split become one record.

    Args:
        path: Path of the file.
        images: Folder that the file names are relative to.
        notes: List that receives the lines that cannot be used, with the reason.
    """
    found: dict[tuple[str, str | None], Record] = {}
    bad: dict[str, list[str]] = collections.defaultdict(list)
    for number, line in enumerate(read_lines(path, notes), start=1):
        if not line.strip():
            continue
        try:
            record = record_of(json.loads(line), images)
        except (json.JSONDecodeError, RecursionError):
            bad["that are not JSON"].append(str(number))
        except ValueError as error:
            bad[str(error)].append(str(number))
        else:
            key = (record.file_name, record.split)
            found[key] = _join(found[key], record) if key in found else record
    for reason, lines in bad.items():
        add_listed(notes, f"{path.name}: skipped {len(lines)} lines {reason}", lines)
    return list(found.values())


def record_of(item: Any, images: AnyPath) -> Record:
    """Returns the record of an object of JSON.

    Args:
        item: Content of a line.
        images: Folder that the file names are relative to.

    Raises:
        ValueError: It cannot be used; the message says why, in words that follow "lines".
    """
    if not isinstance(item, dict):
        raise ValueError("that are not objects")
    item = _without_nulls(item)
    names = [item[key] for key in _NAMES if key in item]
    if len(names) != 1 or not isinstance(names[0], str) or not names[0]:
        raise ValueError(f"without exactly one of {', '.join(_NAMES)} with a file name")
    texts = [item[key] for key in TEXTS if key in item]
    if len(texts) != 1:
        raise ValueError(f"without exactly one of {', '.join(TEXTS)}")
    sentences = texts[0] if isinstance(texts[0], list) else texts
    if not all(isinstance(sentence, str) for sentence in sentences):
        raise ValueError("with sentences that are not text")
    if not isinstance(item.get("split", ""), str):
        raise ValueError("with a split that is not text")
    phrases = item.get("phrases", [])
    if not isinstance(phrases, list):
        raise ValueError("with phrases that are not a list")
    return Record(
        str(item.get("image_id", names[0])),
        images / names[0],
        [sentence.strip() for sentence in sentences],
        _number_objects([_parse_phrase(phrase, len(sentences)) for phrase in phrases]),
        file_name=names[0],
        split=item.get("split") or None,
    )


def _parse_phrase(item: Any, num_sentences: int) -> Phrase:
    """Parses {"sentence": 0, "text": "a dog", "bbox": [x, y, width, height]}.

    Instead of "bbox" a phrase may have "box": [ymin, xmin, ymax, xmax], relative to the image. It
    may have a "type", such as "people".
    """
    if isinstance(item, dict):
        item = _without_nulls(item)
        text, sentence, number = item.get("text"), item.get("sentence", 0), item.get("object", -1)
        in_pixels = "bbox" in item
        box = corners(item.get("bbox") if in_pixels else item.get("box"))
        if (
            isinstance(text, str)
            and type(sentence) is int
            and type(number) is int
            and number <= _MAX_OBJECT
            and 0 <= sentence < num_sentences
            and box
            and in_pixels != ("box" in item)
        ):
            if not in_pixels:
                ymin, xmin, ymax, xmax = map(float, item["box"])
                box = ymin, xmin, ymax, xmax
            kind = str(item.get("type", ""))
            return Phrase(sentence, text, box, number, in_pixels=in_pixels, type=kind)
    raise ValueError("with phrases that are not of the documented form")


def _without_nulls(item: dict[str, Any]) -> dict[str, Any]:
    """Returns the fields that have a value; programs write null for one that is missing."""
    return {key: value for key, value in item.items() if value is not None}


def _number_objects(phrases: list[Phrase]) -> list[Phrase]:
    """Gives every object without an identifier one of its own."""
    first = next_object(phrases)
    boxes: dict[tuple[float, ...], int] = {}
    return [
        phrase
        if phrase.object >= 0
        else dataclasses.replace(phrase, object=boxes.setdefault(phrase.box, first + len(boxes)))
        for phrase in phrases
    ]


def _join(one: Record, other: Record) -> Record:
    """Joins two lines of one image. Objects of different lines are different objects."""
    moved = [
        dataclasses.replace(
            phrase,
            sentence=phrase.sentence + len(one.sentences),
            object=phrase.object + next_object(one.phrases),
        )
        for phrase in other.phrases
    ]
    return dataclasses.replace(
        one, sentences=[*one.sentences, *other.sentences], phrases=[*one.phrases, *moved]
    )
