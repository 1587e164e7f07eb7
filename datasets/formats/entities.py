"""Flickr30k Entities: the boxes that the phrases of a sentence describe.

Sentences/<id>.txt    [/EN#<chain>/<type> words] in each of five lines
Annotations/<id>.xml  objects: chains with pixel boxes, or `scene` and `nobndbox`

Both folders are read unpacked, or from `annotations.zip` as it is distributed. `<id>` is the name
of the image's file up to its suffix or first underscore, as in 1000268201_693b08cb0e.jpg.
"""

import collections
import dataclasses
import io
import re
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple
from xml.etree import ElementTree

from visem_tf.datasets.formats.marked_sentences import Match, match_sentences
from visem_tf.datasets.formats.text import split_lines
from visem_tf.datasets.locations import path_of
from visem_tf.datasets.problems import Problems, add_listed, listed
from visem_tf.datasets.records import Box, Phrase, Record, tokenized, tokens_of_records
from visem_tf.errors import UserError
from visem_tf.runtime.storage import AnyPath, read_regular, reason_of

FOLDERS = ("Flickr30kEntities", "flickr30k_entities", "Flickr30k_Entities")
"""Usual names of the folder of Flickr30k Entities."""

ARCHIVE = "annotations.zip"
_TEXTS, _BOXES = "Sentences", "Annotations"
_PHRASE = re.compile(r"\[/EN#(?P<chain>[^/\s\]]+)/(?P<type>\S+)\s+(?P<words>[^\]]*)\]")
_MARK = "/EN#"


class Chunk(NamedTuple):
    """A part of a sentence.

    Attributes:
        text: Words of the part.
        chain: Name of the chain it belongs to; empty outside of phrases.
        type: Type of the phrase, such as "people", or several with slashes; empty outside.
    """

    text: str
    chain: str = ""
    type: str = ""


class Boxes(NamedTuple):
    """The objects of an image.

    Attributes:
        size: Width and height in pixels.
        by_chain: Pixel boxes (ymin, xmin, ymax, xmax) of each chain.
    """

    size: tuple[int, int] | None
    by_chain: dict[str, list[Box]]


def find_entities(data_dir: AnyPath) -> AnyPath | None:
    """Returns the folder of Flickr30k Entities, or None if there is none.

    Args:
        data_dir: The user's folder, which holds one of `FOLDERS`, or the two unpacked folders.

    Raises:
        UserError: If the folder has neither its two folders nor the archive of them.
    """
    for folder in (*(path_of(data_dir, name) for name in FOLDERS), data_dir):
        there = [name for name in (_TEXTS, _BOXES) if (folder / name).is_dir()]
        is_named = folder != data_dir and folder.is_dir()
        if len(there) == 2 or (is_named and path_of(folder, ARCHIVE).is_file()):
            return folder
        if there or is_named:
            raise UserError(
                f"{folder} must contain {_TEXTS}/ and {_BOXES}/, or {ARCHIVE} of Flickr30k "
                "Entities; add them, or remove it"
            )
    return None


def entities_files(folder: AnyPath) -> list[AnyPath]:
    """Returns the files that `with_entities` reads.

    Args:
        folder: Folder that `find_entities` returned.
    """
    if not _is_unpacked(folder):
        return [path_of(folder, ARCHIVE)]
    return [
        path
        for name in (_TEXTS, _BOXES)
        for path in sorted((folder / name).iterdir(), key=lambda path: path.name)
    ]


def parse_sentence(line: str) -> list[Chunk]:
    """Returns the parts of a marked sentence, in order.

    Raises:
        ValueError: If a mark cannot be understood, such as one within another.

    Example:
        >>> for chunk in parse_sentence("[/EN#1/people A man] in [/EN#2/clothing a hat] ."):
        ...     print(chunk.chain or "-", chunk.type or "-", chunk.text)
        1 people A man
        - - in
        2 clothing a hat
        - - .
    """
    chunks, end = [], 0
    for match in _PHRASE.finditer(line):
        chunks.append(Chunk(line[end : match.start()].strip()))
        chunks.append(Chunk(match["words"].strip(), match["chain"], match["type"].lower()))
        end = match.end()
    chunks.append(Chunk(line[end:].strip()))
    if any(_MARK in chunk.text for chunk in chunks):
        raise ValueError("a mark that is not [/EN#chain/type words]")
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


def with_entities(records: Sequence[Record], folder: AnyPath, problems: Problems) -> list[Record]:
    """Adds the phrases and boxes of Flickr30k Entities to images.

    A marked sentence belongs to the sentence of its image that has the same words, or nearly; see
    `match_sentences`. A phrase with several boxes becomes several phrases.

    Args:
        records: Images with sentences.
        folder: Folder that `find_entities` returned.
        problems: Receives what does not fit together.

    Raises:
        UserError: If the archive cannot be read.
    """
    files = _open(folder)
    notes = problems.notes
    stems = [record.path.stem.partition("_")[0] for record in records]
    is_known = [stem in files[_TEXTS] and stem in files[_BOXES] for stem in stems]
    absent = [r.file_name for r, known in zip(records, is_known, strict=True) if not known]
    broken: list[str] = []
    boxes_of: dict[str, Boxes] = {}
    lines_of: dict[str, list[tuple[int, list[Chunk]]]] = {}
    for stem in dict.fromkeys(s for s, known in zip(stems, is_known, strict=True) if known):
        try:
            boxes_of[stem] = parse_annotation(_read(files[_BOXES][stem]))
        except (ValueError, OSError) as error:
            broken.append(f"{stem}.xml: {error}")
            continue
        lines_of[stem] = _parse_lines(stem, files[_TEXTS][stem], broken, notes)
    words = iter(
        tokenized([c.text for lines in lines_of.values() for _, line in lines for c in line])
    )
    words_of = {
        stem: [[next(words) for _ in line] for _, line in lines] for stem, lines in lines_of.items()
    }
    unmatched, result = [], []
    for record, stem, sentences in zip(records, stems, tokens_of_records(records), strict=True):
        if stem not in lines_of:
            result.append(record)
            continue
        marked = [[word for chunk in line for word in chunk] for line in words_of[stem]]
        phrases: list[Phrase] = []
        objects: dict[Box, int] = {}
        for (row, line), words_of_line, match in zip(
            lines_of[stem], words_of[stem], match_sentences(marked, sentences), strict=True
        ):
            if match is None:
                unmatched.append(f"{stem}.txt line {row}")
                continue
            lengths = [len(tokens) for tokens in words_of_line]
            for phrase in _phrases(line, lengths, match, boxes_of[stem].by_chain, objects):
                text = b" ".join(sentences[match.sentence][phrase.first : phrase.last + 1])
                phrases.append(dataclasses.replace(phrase, text=text.decode()))
        size = boxes_of[stem].size
        result.append(dataclasses.replace(record, phrases=phrases, size=size, may_be_squashed=True))
    message = f"{folder.name}: {len(absent)} images have no sentences or boxes"
    add_listed(notes, message, absent)
    add_listed(notes, f"{folder.name}: annotations that cannot be read", broken)
    message = (
        f"{folder.name}: {len(unmatched)} marked sentences are not among those of their image, so "
        "that their phrases are not used"
    )
    add_listed(notes, message, unmatched)
    unused = sorted(files[_BOXES].keys() - set(stems))
    if unused:
        problems.decisions.append(
            f"{folder.name}: {len(unused)} annotations of other images are not used: "
            f"{listed(unused, 5)}"
        )
    return result


def _is_unpacked(folder: AnyPath) -> bool:
    return (folder / _TEXTS).is_dir() and (folder / _BOXES).is_dir()


def _open(folder: AnyPath) -> dict[str, dict[str, AnyPath | zipfile.Path]]:
    """Returns the files of each of the two folders by their id."""
    root: AnyPath | zipfile.Path = folder
    if not _is_unpacked(folder):
        path = path_of(folder, ARCHIVE)
        try:
            # Thousands of small files: another storage is asked once.
            root = zipfile.Path(zipfile.ZipFile(io.BytesIO(read_regular(path))))
        except (OSError, zipfile.BadZipFile) as error:
            reason = reason_of(error)
            raise UserError(f"cannot read {path} ({reason}); fix or replace it") from error
    files: dict[str, dict[str, AnyPath | zipfile.Path]] = {}
    for name, suffix in ((_TEXTS, ".txt"), (_BOXES, ".xml")):
        part = root / name
        if not part.is_dir():
            raise UserError(f"{folder / ARCHIVE} has no folder {name}; fix or replace it")
        files[name] = {
            PurePosixPath(path.name).stem: path
            for path in part.iterdir()
            if path.name.endswith(suffix)
        }
    return files


def _read(path: AnyPath | zipfile.Path) -> bytes:
    try:
        return path.read_bytes() if isinstance(path, zipfile.Path) else read_regular(path)
    except (zipfile.BadZipFile, zlib.error) as error:
        raise OSError(f"damaged in {ARCHIVE}") from error


def _parse_lines(
    stem: str, path: AnyPath | zipfile.Path, broken: list[str], notes: list[str]
) -> list[tuple[int, list[Chunk]]]:
    """Returns the number and the parts of each line that can be understood."""
    parsed = []
    try:
        lines = split_lines(_read(path), path.name, notes)
    except OSError as error:
        broken.append(f"{stem}.txt: {reason_of(error)}")
        return []
    for row, line in enumerate(lines, start=1):
        try:
            if line.strip():
                parsed.append((row, parse_sentence(line)))
        except ValueError as error:
            broken.append(f"{stem}.txt line {row}: {error}")
    return parsed


def _phrases(
    line: Sequence[Chunk],
    lengths: Sequence[int],
    match: Match,
    by_chain: Mapping[str, Sequence[Box]],
    objects: dict[Box, int],
) -> list[Phrase]:
    """Returns the phrases of a marked sentence; adds new boxes to the objects of the image."""
    found, position = [], 0
    for chunk, length in zip(line, lengths, strict=True):
        first, position = position, position + length
        span = match.span(first, position - 1)
        if span is None:
            continue
        for box in by_chain.get(chunk.chain, ()):
            thing = objects.setdefault(box, len(objects))
            found.append(Phrase(match.sentence, chunk.text, box, thing, *span, type=chunk.type))
    return found


def _number(element: ElementTree.Element, name: str) -> int:
    text = element.findtext(name, "")
    try:
        return round(float(text))
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{name} is {text!r}, not a number") from error
