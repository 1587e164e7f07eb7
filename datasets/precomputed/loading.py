"""Precomputed features as a data set: which kind is there, and its splits."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from visem_tf.config import DataConfig
from visem_tf.datasets import PRECOMPUTED, schema
from visem_tf.datasets.caption_dataset import CaptionDataset, Phrases, Split
from visem_tf.datasets.precomputed import bottom_up, own_cache, precomp, vgg_feats
from visem_tf.datasets.problems import Problems
from visem_tf.datasets.records import Record, RegionSource
from visem_tf.errors import UserError
from visem_tf.runtime.storage import AnyPath, as_path

NEEDS = (
    "precomputed needs a folder with one of: vgg_feats.mat and dataset.json (neuraltalk); "
    "{train,dev,test}_ims.npy and {train,dev,test}_caps.txt (VSE++, SCAN); *.tsv of bottom-up "
    "features and a file of captions; train/, val/ and test/ as python -m visem_tf.convert "
    "--format cache writes them"
)
_SAMPLE = 1 << 20
OPTIONS = ("features", "captions", "splits", "val_share", "test_share", "split_seed")


Described = tuple[dict[str, list[Record]], dict[str, RegionSource]]


class Kind(NamedTuple):
    """A kind of features.

    Attributes:
        files: the files of this kind in a folder; none where it is not there.
        read: gives the pictures of each split, whose files need not exist, and the regions of
            each split in the order of its pictures.
    """

    files: Callable[[AnyPath, DataConfig], list[AnyPath]]
    read: Callable[[AnyPath, DataConfig, Problems], Described]


KINDS = {
    "mat": Kind(vgg_feats.find, vgg_feats.read),
    "ims": Kind(precomp.find, precomp.read),
    "tsv": Kind(bottom_up.find, bottom_up.read),
    "cache": Kind(own_cache.find, own_cache.read),
}


def load_precomputed(
    data_dir: str | os.PathLike[str] | None,
    config: str | None,
    options: DataConfig,
    *,
    strict: bool = False,
    problems: Problems | None = None,
) -> CaptionDataset:
    """Reads the sentences of precomputed features, and gets ready to read the features.

    Args:
        data_dir: the user's folder.
        config: must be None; there are no variants.
        options: which kind of features, where there are several, and where splits come from.
        strict: whether pictures without features or sentences are an error.
        problems: receives what is wrong, which the data set names in any case.

    Returns:
        A data set whose splits have `regions` and no pictures.

    Raises:
        UserError: a file is missing, cannot be read or does not fit the others.
    """
    if config is not None:
        raise UserError(f"{PRECOMPUTED} has no configurations; leave {config!r} out")
    if data_dir is None:
        raise UserError(f"--data-dir is missing; {NEEDS}")
    root = as_path(data_dir)
    if not root.is_dir():
        raise UserError(f"{root} is no folder; {NEEDS}")
    kind = find_kind(root, options)
    files = KINDS[kind].files(root, options)
    problems = Problems() if problems is None else problems
    records, sources = KINDS[kind].read(root, options, problems)
    splits = {split: _split(split, records[split], sources[split]) for split in schema.SPLITS}
    if strict and problems.skipped:
        raise UserError(
            f"{PRECOMPUTED}: {len(problems.skipped)} pictures cannot be used, the first is "
            f"{problems.skipped[0]}; mend them or leave --strict out"
        )
    if not all(source.has_boxes for source in sources.values()):
        problems.decisions.append(
            "the features have no boxes: alignments name regions by their number, and no boxes "
            "are drawn or described"
        )
    return CaptionDataset(
        name=PRECOMPUTED,
        fingerprint=_fingerprint(root, kind, files, options),
        splits=splits,
        problems=[
            *(f"skipped {line}" for line in problems.skipped),
            *problems.notes,
            *problems.decisions,
        ],
        skipped=problems.skipped,
    )


def find_kind(root: AnyPath, options: DataConfig) -> str:
    """Returns which kind of features a folder has.

    Raises:
        UserError: there is none, or there are several and no option decides.
    """
    if options.pictures:
        raise UserError(f"{PRECOMPUTED} does not use --data.pictures; leave it out")
    given = options.features
    if given:
        kind = given if given in ("ims", "cache") else given.rpartition(".")[2].lower()
        if kind not in KINDS:
            raise UserError(
                f"--data.features must be a .mat or .tsv file, or ims, or cache, not {given!r}"
            )
        if not KINDS[kind].files(root, options):
            raise UserError(f"{root} has no features {given}; mend --data.features")
        return kind
    found = [kind for kind in KINDS if KINDS[kind].files(root, options)]
    if not found:
        raise UserError(f"{root} has no features that are known; {NEEDS}")
    if len(found) > 1:
        shown = " and ".join(KINDS[kind].files(root, options)[0].name for kind in found)
        raise UserError(
            f"{root} has features of several kinds ({shown}); choose with --data.features"
        )
    return found[0]


def _split(name: str, records: list[Record], source: RegionSource) -> Split:
    counts = np.array([len(record.sentences) for record in records])
    starts = np.cumsum(counts) - counts
    rows = [
        (int(starts[row]) + phrase.sentence, phrase)
        for row, record in enumerate(records)
        for phrase in record.phrases
    ]
    phrases = None
    if rows:
        phrases = Phrases(
            sentence_index=np.array([sentence for sentence, _ in rows], np.int32),
            first=np.array([phrase.first for _, phrase in rows], np.int32),
            last=np.array([phrase.last for _, phrase in rows], np.int32),
            boxes=np.array([phrase.box for _, phrase in rows], np.float32),
            object=np.array([phrase.object for _, phrase in rows], np.int32),
            text=[phrase.text for _, phrase in rows],
        )
    return Split(
        name=name,
        image_ids=[record.image_id for record in records],
        file_names=[record.file_name for record in records],
        sentences=[sentence for record in records for sentence in record.sentences],
        sentence_ids=[
            f"{record.image_id}#{number}"
            for record in records
            for number in range(len(record.sentences))
        ],
        image_index=np.repeat(np.arange(len(records), dtype=np.int32), counts),
        phrases=phrases,
        _open=_no_pictures,
        regions=source,
    )


def _no_pictures() -> tf.data.Dataset:
    raise UserError(f"{PRECOMPUTED} has features and no pictures")


def _fingerprint(root: AnyPath, kind: str, files: list[AnyPath], options: DataConfig) -> str:
    parts: list[Any] = [PRECOMPUTED, "1", kind]
    parts.append({name: getattr(options, name) for name in OPTIONS})
    for path in files:
        parts.append([path.name, path.parent.name, path.stat().st_size, _sample(path)])
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _sample(path: AnyPath) -> str:
    """A digest of the beginning, the middle and the end of a file, which may be very large."""
    digest = hashlib.sha256()
    size = path.stat().st_size
    with path.open("rb") as file:
        for start in (0, size // 2, size - _SAMPLE):
            file.seek(max(start, 0))
            digest.update(file.read(_SAMPLE))
    return digest.hexdigest()
