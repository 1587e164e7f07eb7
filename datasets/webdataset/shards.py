"""Tar files of images with texts, as WebDataset writes them: `name.jpg` with `name.txt` or `.json`.

Members belong together if their names are the same up to the first dot. Images stay in the tar
file: a record says where in it the image is.
"""

import codecs
import collections
import dataclasses
import json
import re
import tarfile
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from visem_tf.datasets.formats.json_lines import TEXTS, record_of
from visem_tf.datasets.formats.text import split_lines
from visem_tf.datasets.problems import Problems, add_listed
from visem_tf.datasets.records import Record
from visem_tf.datasets.splits import split_of
from visem_tf.images.find import ENDINGS, is_ignored
from visem_tf.runtime.storage import AnyPath, FilePart, reason_of, require_regular

_TEXT_ENDINGS = (".txt", ".json")
_MAX_TEXT_BYTES = 1 << 20


@dataclasses.dataclass
class _Sample:
    """The members of one name: the image's name and place, and the bytes of the texts."""

    image: str = ""
    part: FilePart | None = None
    texts: dict[str, bytes] = dataclasses.field(default_factory=dict)


def read_shard(path: AnyPath, place: str, problems: Problems) -> list[Record]:
    """Reads the texts in a tar file, and where its images are.

    A record is named `place/member`. Its split is that of its JSON, or else the first word in the
    names of its folders and of the tar file that names a split. Its sentences are those of its
    JSON, in the fields of `visem_tf.datasets.formats.json_lines`, or else the lines of its text.

    Args:
        path: Path of the tar file, without compression.
        place: Path of the tar file relative to the folder of the data, for the names of images.
        problems: Receives what cannot be used. What follows damage in a tar file is skipped.
    """
    samples: dict[str, _Sample] = collections.defaultdict(_Sample)
    further, large = [], []
    try:
        require_regular(path)
        with path.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as tar:
            for member in _files(tar):
                stem, ending = _split_name(member.name)
                sample = samples[stem]
                if ending in ENDINGS and sample.image:
                    further.append(member.name)
                elif ending in ENDINGS:
                    sample.image = PurePosixPath(member.name).as_posix()
                    sample.part = FilePart(member.offset_data, member.size)
                elif ending in _TEXT_ENDINGS and member.size > _MAX_TEXT_BYTES:
                    large.append(member.name)
                elif ending in _TEXT_ENDINGS and (opened := tar.extractfile(member)):
                    sample.texts[ending] = opened.read()
    except OSError as error:
        problems.skipped.append(f"{place}: cannot be read ({reason_of(error)})")
    except (tarfile.TarError, ValueError) as error:
        problems.skipped.append(f"{place}: what follows image {len(samples)} is damaged ({error})")
    without = [stem for stem, sample in samples.items() if sample.texts and not sample.image]
    add_listed(problems.notes, f"{place}: images beside another of the same name", further)
    add_listed(problems.notes, f"{place}: texts of more than {_MAX_TEXT_BYTES:,} bytes", large)
    add_listed(problems.notes, f"{place}: texts without an image", without)
    found = [(f"{place}/{sample.image}", sample) for sample in samples.values() if sample.image]
    bad: dict[str, list[str]] = collections.defaultdict(list)
    records = [
        dataclasses.replace(_record(name, path, sample.texts, bad), path=path, part=sample.part)
        for name, sample in found
    ]
    for reason, names in bad.items():
        add_listed(problems.notes, f"{place}: {len(names)} texts {reason}", names)
    return records


def _files(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Yields the visible files in a tar file, and forgets them."""
    end = 0
    while (member := tar.next()) is not None:
        if member.offset_data <= end or member.size < 0:
            raise tarfile.ReadError("a header has a wrong size")
        end = member.offset_data
        tar.members.clear()  # type: ignore[attr-defined]
        hidden = any(is_ignored(each) for each in PurePosixPath(member.name).parts if each != "..")
        if member.isreg() and not member.issparse() and not hidden:
            yield member


def _split_name(name: str) -> tuple[str, str]:
    """Returns the name that the members of a sample share, and the ending, in lower case."""
    path = PurePosixPath(name)
    first, dot, rest = path.name.partition(".")
    return (path.parent / first).as_posix(), f"{dot}{rest}".lower()


def _record(name: str, path: AnyPath, texts: dict[str, bytes], bad: dict[str, list[str]]) -> Record:
    """Returns the record of an image; texts that cannot be used are left out and added to `bad`."""
    notes: list[str] = []
    text = texts.get(".txt", b"").removeprefix(codecs.BOM_UTF8)
    lines = [line.strip() for line in split_lines(text, name, notes) if line.strip()]
    if notes:
        bad["that are not UTF-8 were read as Latin-1"].append(name)
    record = Record(name, path, lines, file_name=name)
    if ".json" in texts:
        try:
            fields = _fields(texts[".json"])
            if not any(field in fields for field in TEXTS):
                fields["sentences"] = lines
            record = record_of({**fields, "file_name": name}, path.parent)
        except (json.JSONDecodeError, UnicodeDecodeError, RecursionError):
            bad["that are not JSON"].append(name)
        except ValueError as error:
            bad[str(error)].append(name)
    words = re.findall(r"[a-z]+", PurePosixPath(name).parent.as_posix().lower())
    split = next(filter(split_of, words), None)
    return dataclasses.replace(record, split=record.split or split)


def _fields(data: bytes) -> dict[str, Any]:
    """Returns the fields of an object of JSON, without those that name the image's file."""
    fields = json.loads(data)
    if not isinstance(fields, dict):
        raise ValueError("that are not objects")
    return {field: value for field, value in fields.items() if field not in ("image", "file_name")}
