"""Annotation files in COCO's format: captions, instances with boxes, and phrases with boxes.

    {"images": [{"id", "file_name", "width", "height"}],
     "annotations": [{"id", "image_id", "caption"}]}

An image without `file_name` is named after its `coco_url`.
An entry that cannot be used is left out and listed; a file of another form is an error.
"""

import collections
import dataclasses
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

from visem_tf.datasets.formats.text import read_json
from visem_tf.datasets.phrases import next_object, phrases_of_objects
from visem_tf.datasets.problems import add_listed
from visem_tf.datasets.records import Box, Phrase, Record, safe_image_id, tokens_of_records
from visem_tf.errors import UserError
from visem_tf.runtime.storage import AnyPath


def read_captions(path: AnyPath, folder: AnyPath, notes: list[str]) -> list[Record]:
    """Reads a file of captions.

    Args:
        path: Path of the file.
        folder: Folder that the file names are relative to.
        notes: List that receives what was wrong with the file.

    Returns:
        A record for each image of the file, also for those without captions. Sentences are in the
        order of the ids of the annotations. Different images with one id are left out, because
        captions do not say which of them they describe.

    Raises:
        UserError: If the file cannot be read, or is not a file of captions.
    """
    data = read_json(path, notes)
    annotations = _annotations(path, data, "captions")
    images = data.get("images")
    if not isinstance(images, list) or not images:
        raise UserError(f"{path} lists no images; a COCO file of captions does")
    known: list[tuple[str, dict[str, Any]]] = []
    names_of: dict[str, set[str]] = collections.defaultdict(set)
    bad_images = []
    for number, image in enumerate(images):
        if _has(image, id=(int, str)) and _file_name(image):
            known.append((_key(image["id"]), image))
            names_of[_key(image["id"])].add(_file_name(image))
        else:
            bad_images.append(str(number))
    ambiguous = [
        f"{_file_name(image)} with the id {key}" for key, image in known if len(names_of[key]) > 1
    ]
    captions: dict[str, list[tuple[Any, str]]] = {key: [] for key in names_of}
    bad, orphans = [], []
    for number, annotation in enumerate(annotations):
        if not _has(annotation, caption=str):
            bad.append(str(number))
        elif _key(annotation.get("image_id")) not in captions:
            orphans.append(str(annotation.get("image_id")))
        else:
            caption = (annotation.get("id", number), annotation["caption"].strip())
            captions[_key(annotation["image_id"])].append(caption)
    _note(notes, path, "images without id and file_name or coco_url", bad_images)
    _note(notes, path, "images whose id another image has", ambiguous)
    _note(notes, path, "annotations without a caption", bad)
    _note(notes, path, "captions of images that it does not list", orphans)
    records = []
    for key, image in known:
        if len(names_of[key]) > 1:
            continue
        ordered = _ordered(captions[key])
        split = image.get("split")
        records.append(
            Record(
                image_id=key,
                path=folder / _file_name(image),
                sentences=[caption for _, caption in ordered],
                file_name=_file_name(image),
                size=_size(image),
                split=split if isinstance(split, str) and split else None,
                sentence_ids=[_key(caption_id) for caption_id, _ in ordered],
            )
        )
    return records


def with_instances(records: Sequence[Record], path: AnyPath, notes: list[str]) -> list[Record]:
    """Adds the words that name objects, from a file like `instances_train2017.json`.

    Only words that name the category of an object that is the only one of its category in the
    image are added; see `visem_tf.datasets.phrases.phrases_of_objects`.

    Args:
        records: Images with sentences.
        path: Path of the file, with boxes as [x, y, width, height] in pixels. They refer to the
            `size` of the record, or else to that in the file.
        notes: List that receives what was wrong with the file.

    Raises:
        UserError: If the file cannot be read, or is not a file of instances.
    """
    data = read_json(path, notes)
    annotations = _annotations(path, data, "instances")
    category_of = {
        _key(category.get("id")): str(category.get("name", ""))
        for category in data.get("categories", [])
        if isinstance(category, dict)
    }
    if not category_of:
        raise UserError(f"{path} has no categories; it must be a file of instances")
    images = data.get("images")
    sizes = {
        _key(image["id"]): _size(image)
        for image in (images if isinstance(images, list) else ())
        if _has(image, id=(int, str))
    }
    objects: dict[str, list[tuple[str, Box]]] = collections.defaultdict(list)
    crowds: set[tuple[str, str]] = set()  # images, and categories of which they have a crowd
    bad = []
    for number, annotation in enumerate(annotations):
        box = corners(annotation.get("bbox")) if isinstance(annotation, dict) else None
        if box is None or _key(annotation.get("category_id")) not in category_of:
            bad.append(str(number))
            continue
        category = category_of[_key(annotation["category_id"])]
        image_id = _key(annotation.get("image_id"))
        if annotation.get("iscrowd"):
            crowds.add((image_id, category))
        else:
            objects[image_id].append((category, box))
    _note(notes, path, "annotations without a box or a known category", bad)
    result = []
    for record, tokens in zip(records, tokens_of_records(records), strict=True):
        record = dataclasses.replace(record, size=record.size or sizes.get(record.image_id))
        first = next_object(record.phrases)
        known = [
            each for each in objects[record.image_id] if (record.image_id, each[0]) not in crowds
        ]
        phrases = phrases_of_objects(tokens, known, first_object=first)
        result.append(_with_phrases(record, phrases))
    return result


def with_regions(records: Sequence[Record], path: AnyPath, notes: list[str]) -> list[Record]:
    """Adds phrases with boxes, from a file similar to COCO's that users write themselves.

    Each annotation has `image_id`, `phrase` and `bbox` ([x, y, width, height] in pixels), and may
    have `caption_id`, the id of the caption that the phrase is part of; without it the phrase is
    searched in every sentence of the image. `first`, the index of the phrase's first token, says
    which words are meant if the sentence has them twice. Phrases with the same `object_id` describe
    the same object. `type` may name its kind, such as "people".

    Args:
        records: Images with sentences and their ids, as `read_captions` returns them.
        path: Path of the file.
        notes: List that receives what was wrong with the file.

    Raises:
        UserError: If the file cannot be read, or is not a file of regions.
    """
    by_id = {record.image_id: record for record in records}
    phrases: dict[str, list[Phrase]] = {image_id: [] for image_id in by_id}
    objects: dict[str, dict[str, int]] = collections.defaultdict(dict)
    bad, orphans = [], []
    for number, annotation in enumerate(_annotations(path, read_json(path, notes), "regions")):
        box = corners(annotation.get("bbox")) if _has(annotation, phrase=str) else None
        if box is None:
            bad.append(str(number))
            continue
        image_id, caption_id = _key(annotation.get("image_id")), annotation.get("caption_id")
        sentence_ids = by_id[image_id].sentence_ids if image_id in by_id else ()
        sentences = [
            sentence
            for sentence, sentence_id in enumerate(sentence_ids)
            if caption_id is None or sentence_id == _key(caption_id)
        ]
        if not sentences:
            orphans.append(str(number))
            continue
        numbers = objects[image_id]
        object_id = annotation.get("object_id")
        name = f"box {annotation['bbox']}" if object_id is None else _key(object_id)
        thing = numbers.setdefault(name, len(numbers))
        first = annotation.get("first")
        phrases[image_id] += [
            Phrase(
                sentence,
                annotation["phrase"],
                box,
                thing,
                first if isinstance(first, int) else -1,
                anywhere=caption_id is None,
                type=str(annotation.get("type") or ""),
            )
            for sentence in sentences
        ]
    _note(notes, path, "annotations without a box or a phrase", bad)
    _note(notes, path, "annotations of captions or images that do not exist", orphans)
    return [_with_phrases(record, phrases[record.image_id]) for record in records]


def corners(box: Any) -> Box | None:
    """Returns a box [x, y, width, height] as (ymin, xmin, ymax, xmax), or None if it is not a box.

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
    try:
        x, y, width, height = (float(edge) for edge in box)
    except OverflowError:
        return None
    return y, x, y + height, x + width


def _annotations(path: AnyPath, data: Any, kind: str) -> list[Any]:
    annotations = data.get("annotations") if isinstance(data, dict) else None
    if not isinstance(annotations, list):
        raise UserError(
            f'{path} is not a COCO file of {kind}, which has {{"images": [...], '
            '"annotations": [...]}'
        )
    return annotations


def _has(entry: Any, **types: type | tuple[type, ...]) -> bool:
    """Returns whether an entry is an object whose fields have the types."""
    return isinstance(entry, dict) and all(
        isinstance(entry.get(field), kind) for field, kind in types.items()
    )


def _key(identifier: Any) -> str:
    """Returns an id as text, since files mix 17 and "17"."""
    return safe_image_id(str(identifier))


def _file_name(image: dict[str, Any]) -> str:
    """Returns the name of an image's file, or that in its address at COCO, or ""."""
    name = image.get("file_name")
    if name is None and isinstance(image.get("coco_url"), str):
        return PurePosixPath(image["coco_url"]).name
    return name if isinstance(name, str) else ""


def _size(image: dict[str, Any]) -> tuple[int, int] | None:
    if _has(image, width=int, height=int) and image["width"] > 0 and image["height"] > 0:
        return image["width"], image["height"]
    return None


def _ordered(captions: list[tuple[Any, str]]) -> list[tuple[Any, str]]:
    """Sorts captions by id, numbers as numbers; keeps the order if the ids do not compare."""
    try:
        return sorted(captions, key=lambda pair: pair[0])
    except TypeError:
        return captions


def _with_phrases(record: Record, phrases: Sequence[Phrase]) -> Record:
    return dataclasses.replace(record, phrases=(*record.phrases, *phrases))


def _note(notes: list[str], path: AnyPath, what: str, which: list[str]) -> None:
    add_listed(notes, f"{path.name}: left out {len(which)} {what}", which)
