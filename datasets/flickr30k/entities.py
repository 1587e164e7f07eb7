"""Flickr30k Entities: the boxes that the phrases of a sentence describe.

Sentences/<id>.txt    [/EN#<chain>/<type> words] in each of five lines
Annotations/<id>.xml  objects: chains with pixel boxes, or `scene` and `nobndbox`
"""

from __future__ import annotations

import collections
import dataclasses
import re
from collections.abc import Sequence
from typing import NamedTuple
from xml.etree import ElementTree

from visem_tf.datasets.formats.text import read_lines
from visem_tf.datasets.problems import add_listed
from visem_tf.datasets.records import Box, Phrase, Record, tokenized, tokens_of_records
from visem_tf.runtime.storage import AnyPath, file_names

_PHRASE = re.compile(r"\[/EN#(?P<chain>[^/\s\]]+)/(?P<type>\S+)\s+(?P<words>[^\]]*)\]")


class Chunk(NamedTuple):
    """A part of a sentence.

    Attributes:
        text: Words of the part.
        chain: Name of the chain it belongs to; empty outside of phrases.
    """

    text: str
    chain: str


class Boxes(NamedTuple):
    """The objects of an image.

    Attributes:
        size: Width and height in pixels.
        by_chain: Pixel boxes (ymin, xmin, ymax, xmax) of each chain.
    """

    size: tuple[int, int] | None
    by_chain: dict[str, list[Box]]


def parse_sentence(line: str) -> list[Chunk]:
    """Returns the parts of a marked sentence, in order.

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
        data: XML text.

    Raises:
        ValueError: If the text is not XML, or a coordinate is not a number.
    """
    try:
        root = ElementTree.fromstring(data)
    except ElementTree.ParseError as error:
        raise ValueError(f"broken XML ({error})") from error
    element = root.find("size")
    size = None
    if element is not None:
        size = (_number(element, "width"), _number(element, "height"))
    by_chain: dict[str, list[Box]] = collections.defaultdict(list)
    for item in root.iter("object"):
        chains = [name.text.strip() for name in item.findall("name") if name.text]
        for box in item.findall("bndbox"):
            ymin, xmin, ymax, xmax = (
                float(_number(box, edge)) for edge in ("ymin", "xmin", "ymax", "xmax")
            )
            for chain in chains:
                by_chain[chain].append((ymin, xmin, ymax, xmax))
    return Boxes(size, by_chain)


def with_entities(records: Sequence[Record], folder: AnyPath, notes: list[str]) -> list[Record]:
    """Adds the phrases and boxes of Flickr30k Entities to images.

    A marked sentence belongs to the sentence of its image that has the same tokens. A phrase with
    several boxes becomes several phrases.

    Args:
        records: Images with sentences; Entities identifies them by the file name without suffix.
        folder: Folder with `Sentences/` and `Annotations/`.
        notes: List that receives what does not fit together.
    """
    texts, annotations = folder / "Sentences", folder / "Annotations"
    marked, boxed = file_names(texts), file_names(annotations)
    absent, broken, unmatched = [], [], []
    boxes_of: dict[str, Boxes] = {}
    lines_of: dict[str, list[list[Chunk]]] = {}
    for record in records:
        stem = record.path.stem
        if f"{stem}.txt" not in marked or f"{stem}.xml" not in boxed:
            absent.append(record.file_name)
            continue
        try:
            boxes_of[stem] = parse_annotation((annotations / f"{stem}.xml").read_bytes())
        except (ValueError, OSError) as error:
            broken.append(f"{stem}.xml: {error}")
            continue
        lines = [line for line in read_lines(texts / f"{stem}.txt", notes) if line.strip()]
        lines_of[stem] = [parse_sentence(line) for line in lines]
    chunks = [chunk.text for lines in lines_of.values() for line in lines for chunk in line]
    tokens = iter(tokenized(chunks))
    words_of = {
        stem: [[next(tokens) for _ in line] for line in lines] for stem, lines in lines_of.items()
    }
    result = []
    for record, sentences in zip(records, tokens_of_records(records), strict=True):
        stem = record.path.stem
        if stem in lines_of:
            places = collections.defaultdict(list)
            for number, sentence in enumerate(sentences):
                places[tuple(sentence)].append(number)
            phrases: list[Phrase] = []
            objects: dict[Box, int] = {}
            for row, (line, words) in enumerate(
                zip(lines_of[stem], words_of[stem], strict=True), start=1
            ):
                numbers = places.get(tuple(word for chunk in words for word in chunk))
                if not numbers:
                    unmatched.append(f"{stem}.txt line {row}")
                    continue
                # Identical sentences get one marked sentence each.
                number = numbers.pop(0) if len(numbers) > 1 else numbers[0]
                phrases += _phrases(number, line, words, boxes_of[stem].by_chain, objects)
            record = dataclasses.replace(record, phrases=phrases, size=boxes_of[stem].size)
        result.append(record)
    message = f"{folder.name}: {len(absent)} images have no sentences or boxes"
    add_listed(notes, message, absent)
    add_listed(notes, f"{folder.name}: annotations that cannot be read", broken)
    message = (
        f"{folder.name}: {len(unmatched)} marked sentences are not among those of their image, so "
        "that their phrases are not used"
    )
    add_listed(notes, message, unmatched)
    return result


def _phrases(
    sentence: int,
    line: Sequence[Chunk],
    words: Sequence[Sequence[bytes]],
    by_chain: dict[str, list[Box]],
    objects: dict[Box, int],
) -> list[Phrase]:
    """Returns the phrases of a marked sentence; adds new boxes to the objects of the image."""
    found, position = [], 0
    for chunk, tokens in zip(line, words, strict=True):
        first, position = position, position + len(tokens)
        if tokens:
            text = b" ".join(tokens).decode()
            for box in by_chain.get(chunk.chain, ()):
                thing = objects.setdefault(box, len(objects))
                found.append(Phrase(sentence, text, box, thing, first, position - 1))
    return found


def _number(element: ElementTree.Element, name: str) -> int:
    text = element.findtext(name, "")
    try:
        return round(float(text))
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{name} is {text!r}, not a number") from error
