"""Pictures with a file of JSON lines: an object a line, for a picture or for a sentence."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, ClassVar

import tensorflow_datasets as tfds
from etils import epath

from visem_tf.config import DataConfig
from visem_tf.datasets.collecting import collect
from visem_tf.datasets.folder_builder import OwnPicturesBuilder
from visem_tf.datasets.formats.coco import corners
from visem_tf.datasets.formats.text import read_lines
from visem_tf.datasets.problems import Problems, listed
from visem_tf.datasets.records import Phrase, Record, safe_image_id
from visem_tf.errors import UserError
from visem_tf.runtime.storage import AnyPath

CAPTIONS = ("captions.jsonl", "metadata.jsonl", "data.jsonl")
PICTURES = ("images",)
_NAMES = ("image", "file_name")
_TEXTS = ("sentences", "captions", "sentence", "caption", "text")


class Builder(OwnPicturesBuilder):
    """The builder; README.md beside it describes the files."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar[dict[str, str]] = {"1.0.0": "First version."}
    MANUAL_DOWNLOAD_INSTRUCTIONS = (
        f'a folder with {PICTURES[0]}/ and {CAPTIONS[0]}, whose lines are like {{"image": '
        '"a.jpg", "sentences": ["A dog.", "A brown dog."], "split": "train"}'
    )
    PICTURE_FOLDERS = PICTURES
    CAPTION_FILES = CAPTIONS
    pkg_dir_path = epath.Path(__file__).parent

    @classmethod
    def read_records(
        cls, data_dir: AnyPath, options: DataConfig, problems: Problems
    ) -> dict[str, list[Record]]:
        """Returns the usable pictures of each split."""
        pictures, captions = cls.places(data_dir, options)
        records = read_json_lines(captions, pictures, problems.notes)
        return collect(cls.name, records, options, problems)


def read_json_lines(path: AnyPath, pictures: AnyPath, notes: list[str]) -> list[Record]:
    """Reads a file of JSON lines; lines of one picture and one split become one record.

    Args:
        path: the file.
        pictures: the folder that its file names are below.
        notes: receives what was wrong with it.

    Raises:
        UserError: no line can be used.
    """
    found: dict[tuple[str, str | None], Record] = {}
    bad: dict[str, list[str]] = {}
    for number, line in enumerate(read_lines(path, notes), start=1):
        if not line.strip():
            continue
        try:
            item = json.loads(line)
        except (json.JSONDecodeError, RecursionError):
            bad.setdefault("no JSON", []).append(str(number))
            continue
        reason = _reason(item)
        if reason:
            bad.setdefault(reason, []).append(str(number))
            continue
        record = _record(item, pictures)
        key = (record.file_name, record.split)
        if key in found:
            record = _joined(found[key], record)
        found[key] = record
    for reason, lines in bad.items():
        notes.append(f"{path.name}: skipped {len(lines)} lines: {reason}: line {listed(lines)}")
    if not found:
        raise UserError(
            f"{path} has no line that can be used; {Builder.name} needs "
            f"{Builder.MANUAL_DOWNLOAD_INSTRUCTIONS}"
        )
    return list(found.values())


def _reason(item: Any) -> str:
    """Why a line cannot be used; empty if it can."""
    if not isinstance(item, dict):
        return "no object"
    names = [key for key in _NAMES if key in item]
    texts = [key for key in _TEXTS if key in item]
    if len(names) != 1 or not isinstance(item[names[0]], str) or not item[names[0]]:
        return f"not one of {', '.join(_NAMES)} with a file name"
    if len(texts) != 1:
        return f"not exactly one of {', '.join(_TEXTS)}"
    value = item[texts[0]]
    sentences = value if isinstance(value, list) else [value]
    if not all(isinstance(sentence, str) for sentence in sentences):
        return f"{texts[0]} that is no text or list of texts"
    if not isinstance(item.get("split", ""), str):
        return "a split that is no text"
    phrases = item.get("phrases", [])
    if not isinstance(phrases, list) or any(
        _phrase(phrase, len(sentences)) is None for phrase in phrases
    ):
        return "phrases that are not of the documented form"
    return ""


def _record(item: dict[str, Any], pictures: AnyPath) -> Record:
    name = item["image"] if "image" in item else item["file_name"]
    value = next(item[key] for key in _TEXTS if key in item)
    sentences = [text.strip() for text in (value if isinstance(value, list) else [value])]
    found = [_phrase(phrase, len(sentences)) for phrase in item.get("phrases", [])]
    phrases = _numbered([phrase for phrase in found if phrase is not None])
    return Record(
        safe_image_id(str(item.get("image_id", name))),
        pictures / name,
        sentences,
        tuple(phrases),
        file_name=name,
        split=item.get("split") or None,
    )


def _phrase(item: Any, num_sentences: int) -> Phrase | None:
    """{"sentence": 0, "text": "a dog", "bbox": [x, y, width, height]} or with "box", relative."""
    if not isinstance(item, dict) or not isinstance(item.get("text"), str):
        return None
    sentence = item.get("sentence", 0)
    if not isinstance(sentence, int) or not 0 <= sentence < num_sentences:
        return None
    if ("box" in item) == ("bbox" in item):
        return None
    pixels = corners(item.get("bbox")) if "bbox" in item else corners(item.get("box"))
    if pixels is None:
        return None
    box = pixels
    if "box" in item:
        ymin, xmin, ymax, xmax = (float(edge) for edge in item["box"])
        box = (ymin, xmin, ymax, xmax)
    thing = item.get("object", -1)
    if not isinstance(thing, int) or isinstance(thing, bool):
        return None
    return Phrase(sentence, item["text"], box, thing, in_pixels="bbox" in item)


def _numbered(phrases: list[Phrase]) -> list[Phrase]:
    """Numbers the objects that have no number: one for each box."""
    taken = max((phrase.object for phrase in phrases), default=-1) + 1
    boxes: dict[tuple[float, ...], int] = {}
    return [
        phrase
        if phrase.object >= 0
        else dataclasses.replace(phrase, object=taken + boxes.setdefault(phrase.box, len(boxes)))
        for phrase in phrases
    ]


def _joined(one: Record, other: Record) -> Record:
    """One picture of two lines: the sentences of both."""
    shift = len(one.sentences)
    moved = [dataclasses.replace(p, sentence=p.sentence + shift) for p in other.phrases]
    # Boxes of one line do not become objects of the other by having the same number.
    first = max((phrase.object for phrase in one.phrases), default=-1) + 1
    moved = [dataclasses.replace(phrase, object=phrase.object + first) for phrase in moved]
    return dataclasses.replace(
        one, sentences=[*one.sentences, *other.sentences], phrases=(*one.phrases, *moved)
    )
