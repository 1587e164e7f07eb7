"""Flickr30k Entities: which words of a sentence speak of which boxes.

Sentences/<id>.txt    [/EN#<chain>/<type> words] in each of five lines
Annotations/<id>.xml  objects: chains with pixel boxes, or `scene` and `nobndbox`
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import NamedTuple
from xml.etree import ElementTree

from visem_tf.datasets.formats.text import read_lines
from visem_tf.datasets.problems import listed
from visem_tf.datasets.records import Phrase, Record, tokenized
from visem_tf.runtime.storage import AnyPath, file_names

_PHRASE = re.compile(r"\[/EN#(?P<chain>[^/\s\]]+)/(?P<type>\S+)\s+(?P<words>[^\]]*)\]")

Box = tuple[float, float, float, float]


class Chunk(NamedTuple):
    """A piece of a sentence.

    Attributes:
        text: its words.
        chain: the chain it belongs to; empty outside of phrases.
    """

    text: str
    chain: str


class Boxes(NamedTuple):
    """The objects of a picture.

    Attributes:
        size: width and height in pixels.
        by_chain: pixel boxes (ymin, xmin, ymax, xmax) of each chain.
    """

    size: tuple[int, int] | None
    by_chain: dict[str, list[Box]]


def parse_sentence(line: str) -> list[Chunk]:
    """Returns the pieces of a marked sentence, in order.

    Example:
        >>> for chunk in parse_sentence("[/EN#1/people A man] in [/EN#2/clothing a hat] ."):
        ...     print(chunk.chain or "-", chunk.text)
        1 A man
        - in
        2 a hat
        - .
    """
    chunks, end = [], 0
    for match in _PHRASE.finditer(line):
        chunks.append(Chunk(line[end : match.start()].strip(), ""))
        chunks.append(Chunk(match["words"].strip(), match["chain"]))
        end = match.end()
    chunks.append(Chunk(line[end:].strip(), ""))
    return [chunk for chunk in chunks if chunk.text]


def parse_annotation(data: bytes) -> Boxes:
    """Returns the boxes of an annotation file.

    An object may belong to several chains. Scenes and objects without a box have none.

    Args:
        data: the XML text.

    Raises:
        ValueError: it is no XML, or a number is none.
    """
    try:
        root = ElementTree.fromstring(data)
    except ElementTree.ParseError as error:
        raise ValueError(f"broken XML ({error})") from error
    size = root.find("size")
    declared = None
    if size is not None:
        declared = (_number(size, "width"), _number(size, "height"))
    by_chain: dict[str, list[Box]] = {}
    for item in root.iter("object"):
        chains = [name.text.strip() for name in item.findall("name") if name.text]
        for box in item.findall("bndbox"):
            edges = tuple(float(_number(box, edge)) for edge in ("ymin", "xmin", "ymax", "xmax"))
            for chain in chains:
                by_chain.setdefault(chain, []).append(edges)  # type: ignore[arg-type]
    return Boxes(declared, by_chain)


def with_entities(records: Sequence[Record], folder: AnyPath, notes: list[str]) -> list[Record]:
    """Adds the phrases and boxes of Flickr30k Entities to pictures.

    A marked sentence belongs to the sentence of its picture with the same tokens. A phrase with
    several boxes becomes several phrases.

    Args:
        records: pictures with their sentences; the id of Entities is the file name without ending.
        folder: holds `Sentences/` and `Annotations/`.
        notes: receives what does not fit together.
    """
    texts, annotations = folder / "Sentences", folder / "Annotations"
    marked = file_names(texts) if texts.is_dir() else set()
    boxed = file_names(annotations) if annotations.is_dir() else set()
    result, absent, broken = [], [], []
    parsed: list[tuple[int, Boxes, list[list[Chunk]]]] = []
    for record in records:
        stem = record.path.stem
        result.append(record)
        if f"{stem}.txt" not in marked or f"{stem}.xml" not in boxed:
            absent.append(record.file_name)
            continue
        try:
            boxes = parse_annotation((annotations / f"{stem}.xml").read_bytes())
        except (ValueError, OSError) as error:
            broken.append(f"{stem}.xml: {error}")
            continue
        lines = [line for line in read_lines(texts / f"{stem}.txt", notes) if line.strip()]
        parsed.append((len(result) - 1, boxes, [parse_sentence(line) for line in lines]))
    unmatched = _add_phrases(result, parsed)
    if absent:
        notes.append(
            f"{folder.name}: {len(absent)} pictures have no sentences or boxes: {listed(absent)}"
        )
    if broken:
        notes.append(f"{folder.name}: annotations that cannot be read: {listed(broken)}")
    if unmatched:
        notes.append(
            f"{folder.name}: {len(unmatched)} marked sentences are none of their picture's, so "
            f"that their phrases are not used: {listed(unmatched)}"
        )
    return result


def _add_phrases(
    result: list[Record], parsed: list[tuple[int, Boxes, list[list[Chunk]]]]
) -> list[str]:
    """Puts phrases into the records; returns the marked sentences that fit none."""
    tokens = iter(tokenized([s for row, _, _ in parsed for s in result[row].sentences]))
    pieces = iter(
        tokenized([chunk.text for _, _, lines in parsed for line in lines for chunk in line])
    )
    unmatched = []
    for row, boxes, lines in parsed:
        record = result[row]
        places: dict[tuple[bytes, ...], list[int]] = {}
        for number in range(len(record.sentences)):
            places.setdefault(tuple(next(tokens)), []).append(number)
        objects: dict[Box, int] = {}
        phrases: list[Phrase] = []
        for line_number, line in enumerate(lines):
            words = [next(pieces) for _ in line]
            numbers = places.get(tuple(word for piece in words for word in piece))
            if not numbers:
                unmatched.append(f"{record.path.stem}.txt line {line_number + 1}")
                continue
            number = numbers.pop(0) if len(numbers) > 1 else numbers[0]
            position = 0
            for chunk, piece in zip(line, words, strict=True):
                first, position = position, position + len(piece)
                if not piece:
                    continue
                for box in boxes.by_chain.get(chunk.chain, ()):
                    thing = objects.setdefault(box, len(objects))
                    text = b" ".join(piece).decode()
                    phrases.append(Phrase(number, text, box, thing, first, position - 1))
        result[row] = dataclasses.replace(record, phrases=tuple(phrases), size=boxes.size)
    return unmatched


def _number(element: ElementTree.Element, name: str) -> int:
    found = element.find(name)
    text = "" if found is None or found.text is None else found.text
    try:
        return round(float(text))
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{name} is {text!r}, no number") from error
