"""Precomputed features as a dataset: which format a folder has, and its splits."""

import hashlib
import json
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from visem_tf.config import Config, DataConfig
from visem_tf.datasets import PRECOMPUTED, schema
from visem_tf.datasets.caption_dataset import CaptionDataset, Phrases, Split
from visem_tf.datasets.locations import below, inner_folder
from visem_tf.datasets.precomputed import bottom_up, own_cache, precomp, vgg_feats
from visem_tf.datasets.precomputed.captions import CAPTIONS
from visem_tf.datasets.problems import Problems
from visem_tf.datasets.records import Record, RegionSource
from visem_tf.errors import UserError
from visem_tf.runtime.storage import AnyPath, as_path, reading

NEEDS = (
    "precomputed needs a folder with one of: vgg_feats.mat and dataset.json (neuraltalk); "
    "{train,dev,test}_ims.npy and {train,dev,test}_caps.txt (VSE++, SCAN); *.tsv of bottom-up "
    "features and a file of captions; train/, val/ and test/ as python -m visem_tf.convert "
    "--format cache writes them"
)
SIGNS = ("vgg_feats.mat", "train_ims.npy", f"train/{own_cache.SENTENCES}")
"""Names that only folders of features have."""
OPTIONS = ("features", "captions", "splits", "val_share", "test_share", "split_seed")
_SAMPLE_BYTES = 1 << 20


class Format(Protocol):
    """A format of features: a module of this package."""

    def find(self, root: AnyPath, options: DataConfig) -> list[AnyPath]:
        """Returns the files of this format in a folder."""

    def read(
        self, root: AnyPath, options: DataConfig, problems: Problems
    ) -> tuple[dict[str, list[Record]], dict[str, RegionSource]]:
        """Returns the images of each split, and their regions in the same order."""


FORMATS: dict[str, Format] = {
    "mat": vgg_feats,
    "ims": precomp,
    "tsv": bottom_up,
    "cache": own_cache,
}
_WITH_SPLITS = ("ims", "cache")  # formats that contain captions and splits


def load_precomputed(config: Config, problems: Problems | None = None) -> CaptionDataset:
    """Reads the sentences of precomputed features, and opens the features.

    Args:
        config: Configuration that names the folder of the features, and how it is read.
        problems: Receives the problems of the files, which the dataset lists in any case.

    Returns:
        A dataset whose splits have `regions` and no images.

    Raises:
        UserError: A file is missing, cannot be read or does not match the others, or an image that
            `config.strict` requires has no features or no sentences.
    """
    if config.variant is not None:
        raise UserError(f"{PRECOMPUTED} has no configurations; leave {config.variant!r} out")
    root, options = features_folder(config), config.data
    name = find_format(root, options)
    if name in _WITH_SPLITS and (options.splits in ("random", "entities") or options.captions):
        raise UserError(
            f"features in the format {name} have their own captions and splits; leave "
            "--data.splits and --data.captions out"
        )
    problems = Problems() if problems is None else problems
    with reading(root, "fix or replace it"):
        records, sources = FORMATS[name].read(root, options, problems)
    splits = {split: _split(split, records[split], sources[split]) for split in schema.SPLITS}
    if config.strict:
        problems.require_no_skipped(PRECOMPUTED)
    if not all(source.has_boxes for source in sources.values()):
        problems.decisions.append(
            "the features have no boxes: alignments name regions by their number, and no boxes "
            "are drawn or described"
        )
    return CaptionDataset(
        name=PRECOMPUTED,
        fingerprint=_fingerprint(name, FORMATS[name].find(root, options), options),
        splits=splits,
        problems=problems.lines(),
        skipped=problems.skipped,
    )


def features_folder(config: Config) -> AnyPath:
    """Returns the folder of the features: that of the user's, or the only one in it."""
    if not config.data_dir:
        raise UserError(f"--data-dir is missing; {NEEDS}")
    root = as_path(config.data_dir)
    if not root.is_dir():
        raise UserError(f"{root} is not a folder; {NEEDS}")
    given = config.data.features
    if given and below(root, given).exists():
        return root
    return inner_folder(root, [*SIGNS, *CAPTIONS])


def find_format(root: AnyPath, options: DataConfig) -> str:
    """Returns the name of the format of the features in a folder.

    Raises:
        UserError: If there are no features, or several formats and no option that chooses.
    """
    if options.pictures:
        raise UserError(f"{PRECOMPUTED} does not use --data.pictures; leave it out")
    given = options.features
    if given:
        name = given if given in _WITH_SPLITS else given.rpartition(".")[2].lower()
        if name not in FORMATS:
            raise UserError(
                f"--data.features must be a .mat or .tsv file, or ims, or cache, not {given!r}"
            )
        if not FORMATS[name].find(root, options):
            raise UserError(f"{root} has no features {given}; correct --data.features")
        return name
    found = {name: each.find(root, options) for name, each in FORMATS.items()}
    names = [name for name, files in found.items() if files]
    if not names:
        raise UserError(f"{root} has no features in a known format; {NEEDS}")
    if len(names) > 1:
        files = " and ".join(found[name][0].name for name in names)
        raise UserError(f"{root} has features in several formats ({files}); use --data.features")
    return names[0]


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
        numbers = {
            name: np.array([getattr(phrase, name) for _, phrase in rows], np.int32)
            for name in ("first", "last", "object")
        }
        phrases = Phrases(
            sentence_index=np.array([sentence for sentence, _ in rows], np.int32),
            boxes=np.array([phrase.box for _, phrase in rows], np.float32),
            text=[phrase.text for _, phrase in rows],
            type=[phrase.type for _, phrase in rows],
            **numbers,
        )
    return Split(
        name=name,
        image_ids=[record.image_id for record in records],
        file_names=[record.file_name for record in records],
        sentences=[sentence for record in records for sentence in record.sentences],
        image_index=np.repeat(np.arange(len(records), dtype=np.int32), counts),
        phrases=phrases,
        pictures=_no_images,
        regions=source,
    )


def _no_images() -> tf.data.Dataset:
    raise UserError(f"{PRECOMPUTED} has features and no images")


def _fingerprint(name: str, files: list[AnyPath], options: DataConfig) -> str:
    parts: list[Any] = [PRECOMPUTED, "1", name]
    parts.append({option: getattr(options, option) for option in OPTIONS})
    for path in files:
        parts.append([path.name, path.parent.name, path.stat().st_size, _sample_digest(path)])
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _sample_digest(path: AnyPath) -> str:
    """Returns a digest of the start, middle and end of a file, which may be very large."""
    digest = hashlib.sha256()
    size = path.stat().st_size
    with path.open("rb") as file:
        for start in (0, size // 2, size - _SAMPLE_BYTES):
            file.seek(max(start, 0))
            digest.update(file.read(_SAMPLE_BYTES))
    return digest.hexdigest()
