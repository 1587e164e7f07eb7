"""The "precomp" files of VSE++ and SCAN: `{train,dev,test}_ims.npy` and `{…}_caps.txt`.

Features are (N, F), or (N, R, F) without boxes; a caption a line, five of a picture in order. Where
there are as many rows as captions, every picture's row stands once for each of its captions.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from visem_tf.config import DataConfig
from visem_tf.datasets.formats.text import read_lines
from visem_tf.datasets.precomputed.vgg_feats import Vectors
from visem_tf.datasets.problems import Problems
from visem_tf.datasets.records import (
    Record,
    RegionBlock,
    RegionSource,
    has_words,
    safe_image_id,
    with_frame,
)
from visem_tf.errors import UserError
from visem_tf.runtime.storage import AnyPath, readable

SPLITS = {"train": "train", "val": "dev", "test": "test"}
"""Our splits, and how these files call them."""

CAPTIONS_OF_A_PICTURE = 5
_PICTURES_AT_A_TIME = 64


class RegionVectors:
    """R vectors a picture, without boxes; the mean of them stands for the whole picture.

    Args:
        vectors: [N, R, F]; may lie on the disk. A region of zeros is none.
        rows: int [I], the rows of the pictures of a split.
    """

    has_boxes = False

    def __init__(self, vectors: np.ndarray, rows: np.ndarray) -> None:
        self.vectors = vectors
        self.rows = rows

    def blocks(self, start: int) -> Iterator[RegionBlock]:
        """Yields the regions of the pictures from a position on."""
        for first in range(start, len(self.rows), _PICTURES_AT_A_TIME):
            rows = self.rows[first : first + _PICTURES_AT_A_TIME]
            features = np.asarray(self.vectors[rows], np.float32)
            yield with_frame(features, None, np.any(features != 0, axis=2))


def find(root: AnyPath, options: DataConfig) -> list[AnyPath]:
    """Returns the files of this kind in a folder."""
    if not any((root / f"{name}_ims.npy").is_file() for name in SPLITS.values()):
        return []
    files = []
    for name in SPLITS.values():
        for kind in ("ims.npy", "caps.txt"):
            path = root / f"{name}_{kind}"
            if not path.is_file():
                raise UserError(f"{path} is missing; precomp needs it for train, dev and test")
            files.append(path)
        if (root / f"{name}_ids.txt").is_file():
            files.append(root / f"{name}_ids.txt")
    return files


def read(
    root: AnyPath, options: DataConfig, problems: Problems
) -> tuple[dict[str, list[Record]], dict[str, RegionSource]]:
    """Reads the sentences of all splits.

    Args:
        root: the user's folder.
        options: splits are always those of the files.
        problems: receives what is wrong.

    Raises:
        UserError: a file cannot be read, or features and captions do not fit together.
    """
    if options.splits in ("random", "entities") or options.captions:
        raise UserError(
            "precomp files have their own captions and splits; leave --data.splits and "
            "--data.captions out"
        )
    records: dict[str, list[Record]] = {}
    sources: dict[str, RegionSource] = {}
    dims = set()
    for split, name in SPLITS.items():
        vectors = _open(root / f"{name}_ims.npy")
        captions = [line.strip() for line in read_lines(root / f"{name}_caps.txt", problems.notes)]
        rows, repeats = pair_up(vectors, len(captions), root / f"{name}_ims.npy")
        ids = _ids(root / f"{name}_ids.txt", split, rows, len(captions), problems)
        part, kept = [], []
        fine = has_words(captions)
        for number, row in enumerate(rows.tolist()):
            mine = range(number * repeats, (number + 1) * repeats)
            sentences = [captions[line] for line in mine if fine[line]]
            dropped = [str(line + 1) for line in mine if not fine[line]]
            if dropped:
                problems.notes.append(
                    f"{name}_caps.txt: dropped captions without words: line {', '.join(dropped)}"
                )
            if not sentences:
                problems.skipped.append(f"{split}: {ids[number]}: no sentences")
                continue
            part.append(
                Record(
                    safe_image_id(ids[number]), root / ids[number], sentences, file_name=ids[number]
                )
            )
            kept.append(row)
        if not part:
            raise UserError(f"{root}: nothing is left of the {split} split")
        records[split] = part
        kind = RegionVectors if vectors.ndim == 3 else Vectors
        sources[split] = kind(vectors, np.array(kept, np.int64))
        dims.add(vectors.shape[1:])
    if len(dims) > 1:
        raise UserError(f"{root}: the features of the splits have different shapes: {dims}")
    return records, sources


def pair_up(vectors: np.ndarray, num_captions: int, path: AnyPath) -> tuple[np.ndarray, int]:
    """Says which rows are pictures and how many captions each has.

    Args:
        vectors: [N, …].
        num_captions: number of lines of captions.
        path: the features' file, for messages.

    Returns:
        The row of each picture, and the number of captions of each.

    Raises:
        UserError: the numbers do not fit.

    Example:
        >>> from pathlib import Path
        >>> rows, captions = pair_up(np.repeat(np.arange(4.0)[:, None], 5, 0), 20, Path("ims.npy"))
        >>> rows.tolist(), captions
        ([0, 5, 10, 15], 5)
    """
    count, k = len(vectors), CAPTIONS_OF_A_PICTURE
    if not count or not num_captions or num_captions % count:
        raise UserError(
            f"{path} has {count} rows and there are {num_captions} captions: every picture must "
            "have the same number of them, or a row for each caption"
        )
    if num_captions > count:
        return np.arange(count), num_captions // count
    # As many rows as captions: either repeated, or one caption a picture. The rows tell.
    if count % k == 0:
        groups = range(0, count, max(k, count // 50 // k * k))
        if all(_same(vectors[start : start + k]) for start in groups):
            return np.arange(0, count, k), k
    return np.arange(count), 1


def _same(rows: np.ndarray) -> bool:
    return bool(np.all(np.asarray(rows) == np.asarray(rows[:1])))


def _open(path: AnyPath) -> np.ndarray:
    try:
        on_disk = isinstance(path, Path)
        vectors = np.load(readable(path), mmap_mode="r" if on_disk else None, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path} is no NumPy array that can be read ({error})") from error
    if vectors.ndim not in (2, 3) or not np.issubdtype(vectors.dtype, np.floating):
        shape = " x ".join(map(str, vectors.shape))
        raise UserError(
            f"{path} must be numbers of pictures x features or pictures x regions x features, not "
            f"{shape} of {vectors.dtype}"
        )
    return vectors


def _ids(
    path: AnyPath, split: str, rows: np.ndarray, num_captions: int, problems: Problems
) -> list[str]:
    """The ids of the pictures: those of the file, or numbers."""
    numbers = [f"{split}-{row}" for row in rows.tolist()]
    if not path.is_file():
        return numbers
    lines = [line.strip() for line in read_lines(path, problems.notes)]
    if len(lines) == num_captions and len(rows) < num_captions:
        lines = lines[:: num_captions // len(rows)]
    if len(lines) != len(rows) or len(set(lines)) != len(lines) or not all(lines):
        problems.notes.append(
            f"{path.name}: {len(lines)} ids are not one for each of {len(rows)} pictures, and are "
            "not used"
        )
        return numbers
    return lines
