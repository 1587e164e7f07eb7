"""From the images that the files of a dataset name to the usable images of its three splits.

Every format needs the same steps: drop repeated images and sentences without words, find missing
files, and map or make the splits.
"""

import dataclasses
from collections.abc import Container, Sequence
from pathlib import PurePosixPath

from visem_tf.config import DataConfig
from visem_tf.datasets import schema
from visem_tf.datasets.matching import ImageFiles
from visem_tf.datasets.phrases import with_positions
from visem_tf.datasets.problems import Problems, add_listed
from visem_tf.datasets.records import Record, tokens_of_records
from visem_tf.datasets.splits import split_at_random, split_of
from visem_tf.errors import UserError


def collect(
    name: str,
    records: Sequence[Record],
    options: DataConfig,
    problems: Problems,
    *,
    described: Container[str] | None = None,
) -> dict[str, list[Record]]:
    """Returns the usable images of each split.

    Args:
        name: Name of the dataset, for messages.
        records: All images that the data name, whether their files exist or not.
        options: Says where splits come from.
        problems: Receives what is wrong.
        described: File names of the images with precomputed features, which need no image files;
            None if the images are read.

    Raises:
        UserError: If a split is left without images, or the data do not decide on the splits.
    """
    records = _unique(records, problems.notes)
    if not records:
        raise UserError(f"{name}: the data name no image; check --data-dir and its files")
    records = with_positions(without_empty_sentences(records, problems.notes), problems.notes)
    given = _splits_are_given(name, records, options)
    usable, matched = [], []
    files = ImageFiles(record.path for record in records)
    for record in records:
        reason = _reason_to_skip(record, described)
        if not reason and described is None and record.part is None:
            try:
                path = files.find(record)
            except LookupError as error:
                reason = str(error)
            else:
                if path != record.path:
                    matched.append(f"{record.file_name} is {path.name}")
                    record = dataclasses.replace(record, path=path)
        reason = reason or ("" if record.sentences else "no sentences")
        if reason:
            split = split_of(record.split) if given else None
            prefix = f"{split}: " if split else ""
            problems.skipped.append(f"{prefix}{record.file_name}: {reason}")
        else:
            usable.append(record)
    message = f"{len(matched)} images have files of another name, which were found"
    add_listed(problems.decisions, message, matched)
    if given:
        splits = _given_splits(usable, problems)
    else:
        splits = split_at_random(usable, options)
        counts = ", ".join(f"{len(part)} {split}" for split, part in splits.items())
        problems.decisions.append(
            f"splits were made at random with data.split_seed {options.split_seed}: {counts}"
        )
    for split, part in splits.items():
        if not part:
            advice = ", or give --data.splits random" if given else ""
            first = f" The first problem: {problems.skipped[0]}" if problems.skipped else ""
            raise UserError(
                f"{name}: no image of the {split} split can be used; fix the data{advice}.{first}"
            )
    return splits


def leads_out(file_name: str) -> bool:
    """Returns whether a file name leads out of the folder of images.

    Example:
        >>> leads_out("../secret.jpg"), leads_out("/etc/passwd"), leads_out("train/a.jpg")
        (True, True, False)
    """
    path = PurePosixPath(file_name)
    return path.is_absolute() or ".." in path.parts or "://" in file_name


def _reason_to_skip(record: Record, described: Container[str] | None) -> str:
    """Returns why an image cannot be used whether there is a file or not, or ""."""
    if leads_out(record.file_name):
        return "leads out of the folder of images"
    if described is not None and record.file_name not in described:
        return "no features"
    return ""


def _splits_are_given(name: str, records: Sequence[Record], options: DataConfig) -> bool:
    """Returns whether the splits are those of the data."""
    if options.splits == "random":
        return False
    if options.splits == "entities" and name != "flickr30k":
        raise UserError(
            f"{name} has no lists of Flickr30k Entities; leave --data.splits entities out"
        )
    without = [record.file_name for record in records if record.split is None]
    if without and len(without) < len(records):
        raise UserError(
            f"{name}: {len(without)} of {len(records)} images have no split, the first is "
            f"{without[0]}; give each of them one, or all of them a new one with "
            "--data.splits random"
        )
    if without and options.splits == "given":
        raise UserError(f"{name}: the data give no splits; leave --data.splits given out")
    return not without


def _given_splits(records: Sequence[Record], problems: Problems) -> dict[str, list[Record]]:
    splits: dict[str, list[Record]] = {split: [] for split in schema.SPLITS}
    unknown: dict[str, list[str]] = {}
    for record in records:
        split = split_of(record.split)
        if split:
            splits[split].append(record)
        else:
            unknown.setdefault(str(record.split).strip(), []).append(record.file_name)
    for spelling, names in unknown.items():
        message = f"{len(names)} images of the split {spelling!r} are not used"
        add_listed(problems.decisions, message, names)
    return splits


def _unique(records: Sequence[Record], notes: list[str]) -> list[Record]:
    """Keeps one record of each image.

    An image in two splits stays in test before val before train, so that no model is trained on
    images that it is tested on.
    """
    by_name: dict[str, Record] = {}
    name_of: dict[str, str] = {}
    repeated, same_id = [], []
    for record in records:
        name, image_id = record.file_name, record.image_id
        other = by_name.get(name)
        if other is None and name_of.setdefault(image_id, name) != name:
            same_id.append(f"{name} has the id {image_id} of {name_of[image_id]}")
        elif other is None:
            by_name[name] = record
        elif other.split == record.split:
            repeated.append(name)
        else:
            kept, lost = sorted((other, record), key=_evaluation_first)
            by_name[name] = kept
            notes.append(f"{name} is in {lost.split} and {kept.split}: kept in {kept.split}")
    add_listed(notes, "images named more than once, the first is kept", repeated)
    add_listed(notes, "images left out because another image has their id", same_id)
    return list(by_name.values())


def _evaluation_first(record: Record) -> int:
    return ("test", "val", "train", None).index(split_of(record.split))


def without_empty_sentences(records: Sequence[Record], notes: list[str]) -> list[Record]:
    """Drops the sentences that have no token.

    Args:
        records: Images with sentences.
        notes: List that receives what was dropped.
    """
    result, dropped = [], []
    for record, tokens in zip(records, tokens_of_records(records), strict=True):
        kept = [number for number, words in enumerate(tokens) if words]
        dropped += [
            f"{sentence!r} of {record.file_name}"
            for sentence, words in zip(record.sentences, tokens, strict=True)
            if not words
        ]
        if len(kept) < len(tokens):
            new_number = {old: new for new, old in enumerate(kept)}
            record = dataclasses.replace(
                record,
                sentences=[record.sentences[number] for number in kept],
                phrases=[
                    dataclasses.replace(phrase, sentence=new_number[phrase.sentence])
                    for phrase in record.phrases
                    if phrase.sentence in new_number
                ],
                sentence_ids=(),
            )
        result.append(record)
    add_listed(notes, "dropped sentences without words", dropped)
    return result
