"""Reads a data set once and says everything that is wrong with it; nothing is written."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import io
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from tqdm import tqdm

from visem_tf.config import DataConfig
from visem_tf.datasets import PRECOMPUTED, builder_module
from visem_tf.datasets.folder_builder import FolderBuilder, read_ahead
from visem_tf.datasets.loading import load_dataset
from visem_tf.datasets.phrases import phrase_rows
from visem_tf.datasets.precomputed.checking import check_features
from visem_tf.datasets.precomputed.loading import load_precomputed
from visem_tf.datasets.preparing import check_options, find_sources
from visem_tf.datasets.problems import Problems, everything_listed, listed
from visem_tf.datasets.records import Record, tokenized
from visem_tf.errors import UserError
from visem_tf.images.decode import ImageError, read_file, read_image
from visem_tf.images.find import ENDINGS
from visem_tf.runtime.storage import AnyPath, as_path
from visem_tf.text import Vocabulary


@dataclasses.dataclass
class SplitSummary:
    """What is in a split.

    Attributes:
        pictures: number of pictures that can be used.
        sentences: number of their sentences.
        sentences_of_a_picture: least, median and most.
        words_of_a_sentence: least, median and most.
        phrases: number of phrases with boxes.
        out_of_vocabulary_percent: share of the words that training does not know.
    """

    pictures: int
    sentences: int
    sentences_of_a_picture: tuple[float, float, float]
    words_of_a_sentence: tuple[float, float, float]
    phrases: int
    out_of_vocabulary_percent: float


@dataclasses.dataclass
class Report:
    """What was found.

    Attributes:
        problems: a line for everything that is wrong; empty for a good data set.
        remarks: what was decided, or is worth knowing.
        splits: by name; empty where the data could not be read at all.
        width: of the pictures: least, median and most.
        height: of the pictures: least, median and most.
        vocabulary_size: words that training would know, without the four special ones.
        distinct_words: words that the training sentences have.
        pictures_read: number of files that were decoded.
        seconds: how long that took.
    """

    problems: list[str] = dataclasses.field(default_factory=list)
    remarks: list[str] = dataclasses.field(default_factory=list)
    splits: dict[str, SplitSummary] = dataclasses.field(default_factory=dict)
    width: tuple[float, float, float] | None = None
    height: tuple[float, float, float] | None = None
    vocabulary_size: int = 0
    distinct_words: int = 0
    pictures_read: int = 0
    seconds: float = 0.0


class _Picture(NamedTuple):
    """What reading a picture found: its size, a digest of its file, and what would be stored."""

    size: tuple[int, int]
    digest: bytes
    encoded: bytes


_Pictures = Iterator[tuple[Record, "Future[_Picture]"]]


def check_dataset(
    name: str,
    *,
    cache_dir: str | os.PathLike[str],
    data_dir: str | os.PathLike[str] | None = None,
    config: str | None = None,
    options: DataConfig | None = None,
    min_count: int = 5,
) -> Report:
    """Reads all texts and all pictures of a data set, a few pictures at a time.

    Args:
        name: the data set.
        cache_dir: where a data set that is not read from a folder is prepared.
        data_dir: the user's folder.
        config: which variant of the data set.
        options: how the user's files are read.
        min_count: how often the vocabulary's words must stand in the training sentences.

    Raises:
        UserError: there is no such data set or folder, or an option does not fit it.
    """
    options = DataConfig() if options is None else options
    if name == PRECOMPUTED:
        return _check_precomputed(data_dir, config, options, min_count)
    builder = importlib.import_module(builder_module(name)).Builder
    report, problems = Report(), Problems()
    looker = _Looker(name, problems)
    if issubclass(builder, FolderBuilder) and config not in builder.WITHOUT_FOLDER:
        check_options(builder, options)
        _check_folder_is_there(builder, data_dir)
        with everything_listed():
            records = _read_records(builder, data_dir, options, problems, report)
            good = {
                split: looker.look(split, len(part), read_ahead(part, read_and_look))
                for split, part in records.items()
            }
    else:
        data = load_dataset(
            name, cache_dir=cache_dir, data_dir=data_dir, config=config, options=options
        )
        problems.skipped += data.skipped
        problems.notes += data.problems[len(data.skipped) :]
        with everything_listed():
            good = {
                split: looker.look(split, len(part.image_ids), _prepared(part))
                for split, part in data.splits.items()
            }
    report.pictures_read, report.seconds = looker.count, looker.seconds
    _conclude(report, problems, good, looker.sizes, min_count)
    return report


def _check_precomputed(
    data_dir: str | os.PathLike[str] | None,
    config: str | None,
    options: DataConfig,
    min_count: int,
) -> Report:
    """Reads features in the place of pictures."""
    if data_dir is None or not as_path(data_dir).is_dir():
        load_precomputed(data_dir, config, options)  # says what the folder must be
    report, problems = Report(), Problems()
    started = time.perf_counter()
    records: dict[str, list[Record]] = {}
    with everything_listed():
        try:
            data = load_precomputed(data_dir, config, options, problems=problems)
            records = check_features(data, problems)
        except UserError as error:
            report.problems.append(str(error))
    report.pictures_read = sum(map(len, records.values()))
    report.seconds = time.perf_counter() - started
    _conclude(report, problems, records, [], min_count)
    return report


def _conclude(
    report: Report,
    problems: Problems,
    good: dict[str, list[Record]],
    sizes: list[tuple[int, int]],
    min_count: int,
) -> None:
    report.problems += [*problems.skipped, *problems.notes]
    report.remarks += problems.decisions
    with everything_listed():
        _check_sentences(good, report)
    _summarise(good, sizes, min_count, report)


class _Looker:
    """Looks at every picture, and remembers those it has seen."""

    def __init__(self, name: str, problems: Problems) -> None:
        self.name = name
        self.problems = problems
        self.sizes: list[tuple[int, int]] = []
        self.count = 0
        self.seconds = 0.0
        self._seen: dict[bytes, str] = {}

    def look(self, split: str, count: int, pictures: _Pictures) -> list[Record]:
        """Returns the records whose pictures are good, with those phrases whose boxes are."""
        started = time.perf_counter()
        bar = tqdm(
            pictures,
            total=count,
            desc=f"reading {self.name} {split}",
            unit=" pictures",
            leave=False,
            disable=None,
        )
        good = []
        for record, future in bar:
            self.count += 1
            try:
                picture = future.result()
            except ImageError as error:
                self.problems.skipped.append(f"{split}: {error}")
                continue
            place = f"{record.file_name} ({split})"
            other = self._seen.setdefault(picture.digest, place)
            if other != place:
                self.problems.notes.append(f"{place} is the same file as {other}")
            self.sizes.append(picture.size)
            rows = phrase_rows(record, picture.encoded, self.problems.notes)
            good.append(dataclasses.replace(record, phrases=record.phrases[: len(rows)]))
        self.seconds += time.perf_counter() - started
        return good


def _check_folder_is_there(builder: Any, data_dir: str | os.PathLike[str] | None) -> None:
    """A folder that is not there is a mistake in the command, and not one in the data."""
    needs = f"{builder.name} needs {builder.MANUAL_DOWNLOAD_INSTRUCTIONS}"
    if data_dir is None:
        raise UserError(f"--data-dir is missing; {needs}")
    if not as_path(data_dir).is_dir():
        raise UserError(f"{data_dir} is no folder; {needs}")


def _read_records(
    builder: Any,
    data_dir: Any,
    options: DataConfig,
    problems: Problems,
    report: Report,
) -> dict[str, list[Record]]:
    """The records of all splits; none where the texts cannot be understood at all."""
    try:
        sources = find_sources(builder, data_dir, options)
        records: dict[str, list[Record]] = builder.read_records(sources.root, options, problems)
    except UserError as error:
        report.problems.append(str(error))
        return {}
    named = {record.path for part in records.values() for record in part}
    loose = [
        path.name for path in sources.files if path.suffix.lower() in ENDINGS and path not in named
    ]
    if loose:
        report.remarks.append(f"pictures that are not used: {len(loose)} ({listed(loose, 5)})")
    return records


def _prepared(part: Any) -> _Pictures:
    """The pictures of a data set that is made or fetched, and not read from a folder."""
    references = part.references()
    pictures = part.pictures().as_numpy_iterator()
    for image_id, file_name, data in zip(part.image_ids, part.file_names, pictures, strict=True):
        future: Future[_Picture] = Future()
        try:
            future.set_result(_looked_at(data, file_name))
        except ImageError as error:
            future.set_exception(error)
        yield Record(image_id, as_path(file_name), references[image_id]), future


def read_and_look(path: AnyPath) -> _Picture:
    """Reads a picture and decodes it.

    Raises:
        ImageError: it cannot be used.
    """
    return _looked_at(read_file(path, path.name), path.name)


def _looked_at(data: bytes, name: str) -> _Picture:
    encoded = read_image(data, name)
    with Image.open(io.BytesIO(encoded)) as opened:
        size = opened.size
    return _Picture(size, hashlib.sha256(data).digest(), encoded)


def _check_sentences(records: dict[str, list[Record]], report: Report) -> None:
    """Looks for what a wrong encoding leaves behind, and for sentences that stand twice."""
    damaged, twice = [], []
    for split, part in records.items():
        for record in part:
            for number, sentence in enumerate(record.sentences):
                if "\ufffd" in sentence or any(
                    ord(sign) < 32 and sign not in "\t\n\r\x0c\x0b" for sign in sentence
                ):
                    damaged.append(f"{record.file_name}#{number} ({split}): {sentence!r}")
            if len(set(record.sentences)) < len(record.sentences):
                twice.append(f"{record.file_name} ({split})")
    if damaged:
        report.problems.append(
            f"sentences with signs that a wrong encoding leaves behind: {listed(damaged)}"
        )
    if twice:
        report.remarks.append(
            f"pictures that have a sentence twice: {len(twice)} ({listed(twice, 5)})"
        )


def _summarise(
    records: dict[str, list[Record]],
    sizes: list[tuple[int, int]],
    min_count: int,
    report: Report,
) -> None:
    if not any(records.values()):
        return
    train = [sentence for record in records["train"] for sentence in record.sentences]
    vocabulary = Vocabulary.build(train, min_count)
    report.vocabulary_size = len(vocabulary) - len(Vocabulary.build([]))
    report.distinct_words = len(Vocabulary.build(train, 1)) - len(Vocabulary.build([]))
    for split, part in records.items():
        sentences = [sentence for record in part for sentence in record.sentences]
        if not sentences:
            report.problems.append(f"nothing is left of the {split} split")
            continue
        report.splits[split] = SplitSummary(
            pictures=len(part),
            sentences=len(sentences),
            sentences_of_a_picture=_spread([len(record.sentences) for record in part]),
            words_of_a_sentence=_spread([len(tokens) for tokens in tokenized(sentences)]),
            phrases=sum(len(record.phrases) for record in part),
            out_of_vocabulary_percent=100.0 * vocabulary.out_of_vocabulary_rate(sentences),
        )
    if sizes:
        report.width = _spread([width for width, _ in sizes])
        report.height = _spread([height for _, height in sizes])


def _spread(values: Sequence[int]) -> tuple[float, float, float]:
    return float(np.min(values)), float(np.median(values)), float(np.max(values))
