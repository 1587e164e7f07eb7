"""From the pictures that a format names to the usable pictures of three splits.

What every format has in common: pictures named twice, sentences without words, missing files,
splits in any spelling, splits that have to be made.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Container, Iterable, Sequence
from pathlib import PurePosixPath

from visem_tf.config import DataConfig
from visem_tf.datasets import schema
from visem_tf.datasets.phrases import with_positions
from visem_tf.datasets.problems import Problems, listed
from visem_tf.datasets.records import Record, has_words
from visem_tf.datasets.splits import SPLIT_NAMES, split_at_random
from visem_tf.errors import UserError
from visem_tf.runtime.storage import AnyPath, file_names


def collect(
    name: str,
    records: Iterable[Record],
    options: DataConfig,
    problems: Problems,
    *,
    described: Container[str] | None = None,
) -> dict[str, list[Record]]:
    """Returns the usable pictures of each split.

    Args:
        name: the data set, for messages.
        records: every picture that the data name, existing or not.
        options: where splits come from.
        problems: receives what is wrong.
        described: the file names of pictures whose features are there, which then need no files.

    Raises:
        UserError: nothing is left of a split, or it is open where the splits come from.
    """
    records = _unique(list(records), problems.notes)
    if not records:
        raise UserError(f"{name}: the data name no picture; check --data-dir and its files")
    records = _with_words(records, problems.notes)
    records = with_positions(records, problems.notes)
    found: list[Record] = []
    reasons: list[tuple[Record, str]] = []
    exists: dict[AnyPath, set[str]] = {}
    for record in records:
        if leads_out(record.file_name):
            reasons.append((record, f"{record.file_name}: leads out of the folder of pictures"))
            continue
        folder = record.path.parent
        if described is None and folder not in exists:
            exists[folder] = file_names(folder) if folder.is_dir() else set()
        if described is None and record.path.name not in exists[folder]:
            reasons.append((record, f"{record.file_name}: not in {_place(record)}"))
        elif described is not None and record.file_name not in described:
            reasons.append((record, f"{record.file_name}: no features"))
        elif not record.sentences:
            reasons.append((record, f"{record.file_name}: no sentences"))
        else:
            found.append(record)
    given = _given_splits(name, records, options)
    for record, reason in reasons:
        split = SPLIT_NAMES.get((record.split or "").strip().lower()) if given else None
        problems.skipped.append(f"{split}: {reason}" if split else reason)
    if given:
        splits = _as_given(found, problems)
    else:
        splits = split_at_random(found, options)
        counts = ", ".join(f"{len(part)} {split}" for split, part in splits.items())
        problems.decisions.append(
            f"splits were made at random with data.split_seed {options.split_seed}: {counts}"
        )
    for split, part in splits.items():
        if not part:
            first = f" The first problem: {problems.skipped[0]}" if problems.skipped else ""
            raise UserError(
                f"{name}: no picture of the {split} split can be used; mend the data"
                + (", or give --data.splits random" if given else "")
                + f".{first}"
            )
    return splits


def leads_out(file_name: str) -> bool:
    """Says whether a file name would be looked for outside of the folder of pictures.

    Example:
        >>> leads_out("../secret.jpg"), leads_out("/etc/passwd"), leads_out("train/a.jpg")
        (True, True, False)
    """
    path = PurePosixPath(file_name)
    return path.is_absolute() or ".." in path.parts or "://" in file_name


def _given_splits(name: str, records: Sequence[Record], options: DataConfig) -> bool:
    """Says whether splits are those of the data; refuses to guess."""
    if options.splits == "random":
        return False
    if options.splits == "entities" and name != "flickr30k":
        raise UserError(
            f"{name} has no lists of Flickr30k Entities; leave --data.splits entities out"
        )
    without = [record.file_name for record in records if record.split is None]
    if not without:
        return True
    if len(without) < len(records):
        raise UserError(
            f"{name}: {len(without)} of {len(records)} pictures have no split, the first is "
            f"{without[0]}; give each of them one, or all of them a new one with "
            "--data.splits random"
        )
    if options.splits == "given":
        raise UserError(f"{name}: the data give no splits; leave --data.splits given out")
    return False


def _as_given(records: Sequence[Record], problems: Problems) -> dict[str, list[Record]]:
    splits: dict[str, list[Record]] = {split: [] for split in schema.SPLITS}
    unknown: dict[str, list[str]] = {}
    for record in records:
        spelled = (record.split or "").strip()
        split = SPLIT_NAMES.get(spelled.lower())
        if split:
            splits[split].append(record)
        else:
            unknown.setdefault(spelled, []).append(record.file_name)
    for spelled, names in unknown.items():
        problems.decisions.append(
            f"pictures of the split {spelled!r} are not used: {len(names)} ({listed(names)})"
        )
    return splits


def _unique(records: list[Record], notes: list[str]) -> list[Record]:
    """Keeps one record of each picture.

    A picture in two splits stays where it is evaluated, in test before val before train, so that
    nothing is trained on what is tested.
    """
    order = {"test": 0, "val": 1, "train": 2}

    def rank(record: Record) -> int:
        return order.get(SPLIT_NAMES.get((record.split or "").lower(), ""), 3)

    by_name: dict[str, Record] = {}
    ids: dict[str, str] = {}
    again, same_id = [], []
    for record in records:
        other = by_name.get(record.file_name)
        if other is not None:
            if other.split != record.split:
                lost, kept = sorted((other, record), key=rank, reverse=True)
                by_name[record.file_name] = kept
                notes.append(
                    f"{record.file_name} is in {lost.split} and {kept.split}: kept in {kept.split}"
                )
            else:
                again.append(record.file_name)
        elif ids.setdefault(record.image_id, record.file_name) != record.file_name:
            same_id.append(
                f"{record.file_name} has the id {record.image_id} of {ids[record.image_id]}"
            )
        else:
            by_name[record.file_name] = record
    if again:
        notes.append(f"pictures named more than once, the first is kept: {listed(again)}")
    if same_id:
        notes.append(f"pictures left out because of their id: {listed(same_id)}")
    return list(by_name.values())


def _with_words(records: list[Record], notes: list[str]) -> list[Record]:
    """Drops the sentences in which nothing is left after tokenising."""
    fine = iter(has_words([sentence for record in records for sentence in record.sentences]))
    result, dropped = [], []
    for record in records:
        kept = [number for number in range(len(record.sentences)) if next(fine)]
        if len(kept) < len(record.sentences):
            new = {old: number for number, old in enumerate(kept)}
            dropped += [
                f"{record.sentences[number]!r} of {record.file_name}"
                for number in range(len(record.sentences))
                if number not in new
            ]
            record = dataclasses.replace(
                record,
                sentences=[record.sentences[number] for number in kept],
                phrases=tuple(
                    dataclasses.replace(phrase, sentence=new[phrase.sentence])
                    for phrase in record.phrases
                    if phrase.sentence in new
                ),
            )
        result.append(record)
    if dropped:
        notes.append(f"dropped sentences without words: {listed(dropped)}")
    return result


def _place(record: Record) -> str:
    """The folder in which a picture was looked for."""
    depth = record.file_name.count("/")
    folder = record.path.parent
    for _ in range(depth):
        folder = folder.parent
    return folder.name or str(folder)
