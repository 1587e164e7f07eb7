"""Annotation files in COCO's format: captions, instances with boxes, and phrases with boxes.

    {"images": [{"id", "file_name", "width", "height"}],
     "annotations": [{"id", "image_id", "caption"}]}

An entry that cannot be used is left out and listed; a file of another form is an error.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any

from visem_tf.datasets.formats.text import read_json
from visem_tf.datasets.phrases import phrases_of_objects
from visem_tf.datasets.problems import listed
from visem_tf.datasets.records import Phrase, Record, safe_image_id, tokenized
from visem_tf.errors import UserError
from visem_tf.runtime.storage import AnyPath


def read_captions(
    path: AnyPath, pictures: AnyPath, notes: list[str], *, split: str | None = None
) -> list[Record]:
    """Reads a file of captions.

    Args:
        path: the file.
        pictures: the folder that its file names are below.
        notes: receives what was wrong with it.
        split: the split of all its pictures; by default the `split` of each, where it has one.

    Returns:
        A record for every picture of the file, also those without captions. Sentences are in the
        order of the annotations' ids.

    Raises:
        UserError: the file cannot be read, or is no file of captions.
    """
    data = read_json(path, notes)
    images, annotations = _lists(path, data, "captions")
    known: dict[str, dict[str, Any]] = {}
    bad_images = []
    for number, image in enumerate(images):
        if not _is_image(image):
            bad_images.append(str(number))
            continue
        known.setdefault(_key(image["id"]), image)
    captions: dict[str, list[tuple[Any, str]]] = {key: [] for key in known}
    bad, orphans = [], []
    for number, annotation in enumerate(annotations):
        if not isinstance(annotation, dict) or not isinstance(annotation.get("caption"), str):
            bad.append(str(number))
        elif _key(annotation.get("image_id")) not in known:
            orphans.append(str(annotation.get("image_id")))
        else:
            order = annotation.get("id", number)
            captions[_key(annotation["image_id"])].append((order, annotation["caption"].strip()))
    _note(notes, path, "images without id or file_name", bad_images)
    _note(notes, path, "annotations without a caption", bad)
    _note(notes, path, "captions of pictures that it does not list", orphans)
    return [
        Record(
            image_id=safe_image_id(key),
            path=pictures / image["file_name"],
            sentences=[caption for _, caption in _ordered(captions[key])],
            file_name=str(image["file_name"]),
            size=_size(image),
            split=split if split is not None else _text_or_none(image.get("split")),
        )
        for key, image in known.items()
    ]


def caption_ids(path: AnyPath) -> dict[str, tuple[str, int]]:
    """Returns for each caption's id the image id and the number of the sentence there.

    Args:
        path: a file that `read_captions` has read.
    """
    by_image: dict[str, list[tuple[Any, Any]]] = {}
    for number, annotation in enumerate(_lists(path, read_json(path, []), "captions")[1]):
        if isinstance(annotation, dict) and isinstance(annotation.get("caption"), str):
            order = annotation.get("id", number)
            by_image.setdefault(_key(annotation.get("image_id")), []).append((order, order))
    return {
        _key(caption_id): (image, number)
        for image, captions in by_image.items()
        for number, (_, caption_id) in enumerate(_ordered(captions))
    }


def with_instances(records: Iterable[Record], path: AnyPath, notes: list[str]) -> list[Record]:
    """Adds the words that speak of objects, from a file like `instances_train2017.json`.

    Only words that name the category of an object that is the only one of its category in the
    picture; see `visem_tf.datasets.phrases.phrases_of_objects`.

    Args:
        records: pictures with sentences.
        path: the file, with boxes as [x, y, width, height] in pixels.
        notes: receives what was wrong with it.

    Raises:
        UserError: the file cannot be read, or is no file of instances.
    """
    data = read_json(path, notes)
    _, annotations = _lists(path, data, "instances")
    names = {
        _key(category.get("id")): str(category.get("name", ""))
        for category in data.get("categories", [])
        if isinstance(category, dict)
    }
    if not names:
        raise UserError(f"{path} has no categories; it must be a file of instances")
    objects: dict[str, list[tuple[str, tuple[float, ...]]]] = {}
    bad = []
    for number, annotation in enumerate(annotations):
        box = corners(annotation.get("bbox")) if isinstance(annotation, dict) else None
        if box is None or _key(annotation.get("category_id")) not in names:
            bad.append(str(number))
        elif not annotation.get("iscrowd"):
            name = names[_key(annotation["category_id"])]
            objects.setdefault(_key(annotation.get("image_id")), []).append((name, box))
    _note(notes, path, "annotations without a box or a known category", bad)
    records = list(records)
    tokens = iter(tokenized([sentence for record in records for sentence in record.sentences]))
    result = []
    for record in records:
        sentences = [next(tokens) for _ in record.sentences]
        found = phrases_of_objects(sentences, objects.get(_original(record), []))
        result.append(dataclasses.replace(record, phrases=(*record.phrases, *found)))
    return result


def with_regions(
    records: Iterable[Record], path: AnyPath, captions: AnyPath, notes: list[str]
) -> list[Record]:
    """Adds phrases with boxes, from a file in COCO's manner that people make themselves.

    Each annotation has `image_id`, `phrase` and `bbox` ([x, y, width, height] in pixels), and may
    have `caption_id`, the id of the caption that the phrase is part of; without it the phrase is
    taken in every sentence of the picture that holds its words. `object_id` tells phrases that
    speak of the same object.

    Args:
        records: pictures with sentences.
        path: the file.
        captions: the file of captions, whose ids it refers to.
        notes: receives what was wrong with it.

    Raises:
        UserError: the file cannot be read, or is no file of regions.
    """
    _, annotations = _lists(path, read_json(path, notes), "regions")
    places = caption_ids(captions)
    by_image: dict[str, list[Phrase]] = {}
    counts = {_original(record): len(record.sentences) for record in records}
    objects: dict[str, dict[str, int]] = {}
    bad, orphans = [], []
    for number, annotation in enumerate(annotations):
        box = corners(annotation.get("bbox")) if isinstance(annotation, dict) else None
        if box is None or not isinstance(annotation.get("phrase"), str):
            bad.append(str(number))
            continue
        image = _key(annotation.get("image_id"))
        caption = annotation.get("caption_id")
        place = None if caption is None else places.get(_key(caption))
        if image not in counts or (caption is not None and (place is None or place[0] != image)):
            orphans.append(str(number))
            continue
        numbers = objects.setdefault(image, {})
        named = _key(annotation.get("object_id", f"box {annotation['bbox']}"))
        thing = numbers.setdefault(named, len(numbers))
        sentences = range(counts[image]) if place is None else [place[1]]
        by_image.setdefault(image, []).extend(
            Phrase(sentence, annotation["phrase"], box, thing, anywhere=place is None)
            for sentence in sentences
        )
    _note(notes, path, "annotations without a box or a phrase", bad)
    _note(notes, path, "annotations of captions or pictures that are not there", orphans)
    return [
        dataclasses.replace(record, phrases=(*record.phrases, *by_image[_original(record)]))
        if _original(record) in by_image
        else record
        for record in records
    ]


def corners(box: Any) -> tuple[float, float, float, float] | None:
    """Returns a box [x, y, width, height] as (ymin, xmin, ymax, xmax), or None if it is none.

    Example:
        >>> corners([10, 20, 30, 40])
        (20.0, 10.0, 60.0, 40.0)
        >>> corners([1, 2, "wide", 3]) is None
        True
    """
    if not isinstance(box, list) or len(box) != 4:
        return None
    if not all(isinstance(edge, (int, float)) and not isinstance(edge, bool) for edge in box):
        return None
    x, y, width, height = (float(edge) for edge in box)
    return y, x, y + height, x + width


def _lists(path: AnyPath, data: Any, kind: str) -> tuple[list[Any], list[Any]]:
    """The images and the annotations of a file."""
    annotations = data.get("annotations") if isinstance(data, dict) else None
    images = data.get("images", []) if isinstance(data, dict) else None
    if not isinstance(annotations, list) or not isinstance(images, list):
        raise UserError(
            f'{path} is no COCO file of {kind}: it must hold {{"images": [...], '
            '"annotations": [...]}'
        )
    if kind == "captions" and not images:
        raise UserError(f"{path} lists no images; a COCO file of captions does")
    return images, annotations


def _is_image(image: Any) -> bool:
    return (
        isinstance(image, dict)
        and isinstance(image.get("id"), (int, str))
        and isinstance(image.get("file_name"), str)
        and bool(image["file_name"])
    )


def _key(identifier: Any) -> str:
    """An id as text: files mix 17 and "17"."""
    return str(identifier)


def _original(record: Record) -> str:
    return record.image_id.replace("%23", "#")


def _size(image: dict[str, Any]) -> tuple[int, int] | None:
    width, height = image.get("width"), image.get("height")
    if isinstance(width, int) and isinstance(height, int) and width > 0 and height > 0:
        return width, height
    return None


def _text_or_none(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _ordered(captions: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """By id, numbers as numbers; in the order of the file where ids do not compare."""
    try:
        return sorted(captions, key=lambda pair: pair[0])
    except TypeError:
        return captions


def _note(notes: list[str], path: AnyPath, what: str, which: list[str]) -> None:
    if which:
        notes.append(f"{path.name}: left out {len(which)} {what}: {listed(which)}")
