"""Reads a dataset once and reports everything that is wrong with it; writes nothing."""

import dataclasses
import hashlib
import io
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from visem_tf.config import Config, TextConfig
from visem_tf.datasets import PRECOMPUTED, builder_class
from visem_tf.datasets.caption_dataset import Split
from visem_tf.datasets.coverage import coverage
from visem_tf.datasets.folder_builder import FolderBuilder, show_progress
from visem_tf.datasets.loading import load_configured
from visem_tf.datasets.locations import below
from visem_tf.datasets.phrases import phrase_rows
from visem_tf.datasets.precomputed.checking import check_features
from visem_tf.datasets.precomputed.loading import features_folder, load_precomputed
from visem_tf.datasets.preparing import check_folder, find_sources
from visem_tf.datasets.problems import Problems, add_listed, everything_listed, listed
from visem_tf.datasets.records import Record, tokenized
from visem_tf.errors import UserError
from visem_tf.images.decode import read_image
from visem_tf.images.find import ENDINGS
from visem_tf.images.load import read_ahead
from visem_tf.images.read import ImageError
from visem_tf.text import SPECIAL_WORDS, Vocabulary

Spread = tuple[float, float, float]
"""Minimum, median and maximum."""


@dataclasses.dataclass
class SplitSummary:
    """The content of a split.

    Attributes:
        pictures: Number of images that can be used.
        sentences: Number of their sentences.
        sentences_of_a_picture: Minimum, median and maximum.
        words_of_a_sentence: Minimum, median and maximum.
        phrases: Number of phrases with boxes.
        out_of_vocabulary_percent: Percentage of words that are not in the training vocabulary.
        cut_percent: Percentage of the sentences that are longer than `text.max_words`.
    """

    pictures: int
    sentences: int
    sentences_of_a_picture: Spread
    words_of_a_sentence: Spread
    phrases: int
    out_of_vocabulary_percent: float
    cut_percent: float


@dataclasses.dataclass
class Report:
    """The result of a validation.

    Attributes:
        problems: One line for each problem; empty for a good dataset.
        warnings: Why training on the data makes little sense.
        remarks: Decisions, and facts that are not problems.
        splits: Summary of each split; empty if the data could not be read at all.
        width: Minimum, median and maximum width of the images.
        height: Minimum, median and maximum height of the images.
        vocabulary_size: Number of words in the training vocabulary, without the special ones.
        distinct_words: Number of distinct words in the training sentences.
        pictures_read: Number of files that were decoded.
        seconds: Time that reading them took.
    """

    problems: list[str] = dataclasses.field(default_factory=list)
    warnings: list[str] = dataclasses.field(default_factory=list)
    remarks: list[str] = dataclasses.field(default_factory=list)
    splits: dict[str, SplitSummary] = dataclasses.field(default_factory=dict)
    width: Spread | None = None
    height: Spread | None = None
    vocabulary_size: int = 0
    distinct_words: int = 0
    pictures_read: int = 0
    seconds: float = 0.0


class CheckedImage(NamedTuple):
    """The result of reading an image.

    Attributes:
        size: Width and height.
        digest: SHA-256 of the file.
        encoded: The image as it would be stored.
    """

    size: tuple[int, int]
    digest: bytes
    encoded: bytes


Images = dict[str, tuple[int, Iterator[tuple[Record, "Future[CheckedImage]"]]]]
"""Number of images of each split, and an iterator over the images that threads read."""


def check_dataset(config: Config) -> Report:
    """Reads all texts and all images of a dataset, a few images at a time.

    Args:
        config: Configuration that names the dataset, its folder and how it is read, which words are
            in the vocabulary, and how long sentences may be.

    Raises:
        UserError: If there is no such dataset or folder, or an option does not fit the dataset.
    """
    config = config.updated({"strict": False})  # all problems are listed
    report, problems = Report(), Problems()
    with everything_listed():
        if config.dataset_name == PRECOMPUTED:
            records = _check_features(config, problems, report)
        else:
            builder = builder_class(config.dataset_name)
            if issubclass(builder, FolderBuilder) and config.variant not in builder.WITHOUT_FOLDER:
                images = _open_folder(builder, config, problems, report)
            else:
                data = load_configured(config)
                report.problems += data.problems
                images = {
                    split: (len(part.image_ids), _prepared(part))
                    for split, part in data.splits.items()
                }
            records = _check_images(images, problems, report)
        report.problems += [*problems.skipped, *problems.notes]
        report.remarks += problems.decisions
        _check_sentences(records, report)
    _summarize(records, config.text, report)
    return report


def check_image(record: Record) -> CheckedImage:
    """Reads an image and decodes it.

    Raises:
        ImageError: If it cannot be used.
    """
    return _check(record.read(), record.label)


def _check(data: bytes, name: str) -> CheckedImage:
    encoded = read_image(data, name)
    with Image.open(io.BytesIO(encoded)) as opened:
        size = opened.size
    return CheckedImage(size, hashlib.sha256(data).digest(), encoded)


def _open_folder(builder: Any, config: Config, problems: Problems, report: Report) -> Images:
    """Reads the texts of a user's folder; returns no splits if they cannot be understood at all."""
    options, root = config.data, check_folder(builder, config)
    assert root is not None
    for option in ("pictures", "captions"):
        given = getattr(options, option)
        if given and not below(root, given).exists():
            raise UserError(f"there is no {below(root, given)}; correct --data.{option}")
    try:
        files = find_sources(builder, root, options)
        records: dict[str, list[Record]] = builder.read_records(root, options, problems)
    except UserError as error:
        report.problems.append(str(error))
        return {}
    named = {record.path for part in records.values() for record in part}
    unused = [path.name for path in files if path.suffix.lower() in ENDINGS and path not in named]
    if unused:
        report.remarks.append(f"{len(unused)} images are not used: {listed(unused, 5)}")
    return {split: (len(part), read_ahead(part, check_image)) for split, part in records.items()}


def _prepared(split: Split) -> Iterator[tuple[Record, Future[CheckedImage]]]:
    """Yields the images of a dataset that is generated or downloaded, not read from a folder."""
    items = zip(split.records(), split.pictures().as_numpy_iterator(), strict=True)
    for (record, _), future in read_ahead(items, lambda item: _check(item[1], item[0].file_name)):
        yield record, future


def _check_images(images: Images, problems: Problems, report: Report) -> dict[str, list[Record]]:
    """Returns the records whose images are good, with the phrases whose boxes are good."""
    started = time.perf_counter()
    first_with: dict[bytes, str] = {}
    sizes = []
    good: dict[str, list[Record]] = {split: [] for split in images}
    for split, (count, opened) in images.items():
        for record, future in show_progress(opened, count, f"reading {split}"):
            report.pictures_read += 1
            try:
                image = future.result()
            except ImageError as error:
                problems.skipped.append(f"{split}: {error}")
                continue
            name = f"{record.file_name} ({split})"
            other = first_with.setdefault(image.digest, name)
            if other != name:
                problems.notes.append(f"{name} is the same file as {other}")
            sizes.append(image.size)
            rows = phrase_rows(record, image.encoded, problems.notes)
            good[split].append(dataclasses.replace(record, phrases=record.phrases[: len(rows)]))
    report.seconds = time.perf_counter() - started
    if sizes:
        report.width = _spread([width for width, _ in sizes])
        report.height = _spread([height for _, height in sizes])
    return good


def _check_features(config: Config, problems: Problems, report: Report) -> dict[str, list[Record]]:
    """Reads precomputed features instead of images."""
    features_folder(config)  # raises an error that says what is needed
    started = time.perf_counter()
    records: dict[str, list[Record]] = {}
    try:
        data = load_precomputed(config, problems)
        records = check_features(data, problems)
    except UserError as error:
        report.problems.append(str(error))
    report.pictures_read = sum(map(len, records.values()))
    report.seconds = time.perf_counter() - started
    return records


def _check_sentences(records: dict[str, list[Record]], report: Report) -> None:
    """Finds the traces of a wrong encoding, and sentences that an image has twice."""
    damaged, repeated = [], []
    for split, part in records.items():
        for record in part:
            for number, sentence in enumerate(record.sentences):
                if any(char == "\ufffd" or _is_control(char) for char in sentence):
                    damaged.append(f"{record.file_name}#{number} ({split}): {sentence!r}")
            if len(set(record.sentences)) < len(record.sentences):
                repeated.append(f"{record.file_name} ({split})")
    add_listed(
        report.problems, "sentences with characters that a wrong encoding leaves behind", damaged
    )
    if repeated:
        report.remarks.append(
            f"{len(repeated)} images have a sentence twice: {listed(repeated, 5)}"
        )


def _is_control(char: str) -> bool:
    return ord(char) < 32 and char not in "\t\n\r\x0c\x0b"


def _summarize(records: dict[str, list[Record]], text: TextConfig, report: Report) -> None:
    if not any(records.values()):
        return
    sentences_of = {
        split: [sentence for record in part for sentence in record.sentences]
        for split, part in records.items()
    }
    vocabulary = Vocabulary.build(sentences_of["train"], text.min_count)
    report.vocabulary_size = len(vocabulary) - len(SPECIAL_WORDS)
    report.distinct_words = len(Vocabulary.build(sentences_of["train"], 1)) - len(SPECIAL_WORDS)
    for split, sentences in sentences_of.items():
        if not sentences:
            report.problems.append(f"the {split} split has no image that can be used")
            continue
        found = coverage(vocabulary, sentences, text.max_words)
        if split == "train":
            report.warnings = found.warnings()
        report.splits[split] = SplitSummary(
            pictures=len(records[split]),
            sentences=len(sentences),
            sentences_of_a_picture=_spread([len(record.sentences) for record in records[split]]),
            words_of_a_sentence=_spread([len(tokens) for tokens in tokenized(sentences)]),
            phrases=sum(len(record.phrases) for record in records[split]),
            out_of_vocabulary_percent=found.unknown_percent,
            cut_percent=found.cut_percent,
        )


def _spread(values: Sequence[int]) -> Spread:
    return float(np.min(values)), float(np.median(values)), float(np.max(values))
