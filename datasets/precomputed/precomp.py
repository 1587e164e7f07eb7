"""The "precomp" files of VSE++ and SCAN: `{train,dev,test}_ims.npy` and `{…}_caps.txt`.

Features are [N, F], or [N, R, F] without boxes; the captions are in lines, those of an image in
sequence. If there are as many rows as captions, the row of an image is repeated for each caption.
"""

import numpy as np

from visem_tf.config import DataConfig
from visem_tf.datasets.collecting import without_empty_sentences
from visem_tf.datasets.formats.text import read_lines
from visem_tf.datasets.precomputed.arrays import ArrayRegions, open_array
from visem_tf.datasets.problems import Problems
from visem_tf.datasets.records import Record, RegionSource
from visem_tf.errors import UserError
from visem_tf.runtime.storage import AnyPath

SPLITS = {"train": "train", "val": "dev", "test": "test"}
"""Our splits, and their names in these files."""

CAPTIONS_PER_IMAGE = 5


def find(root: AnyPath, options: DataConfig) -> list[AnyPath]:
    """Returns the files of this format in a folder."""
    if not any((root / f"{name}_ims.npy").is_file() for name in SPLITS.values()):
        return []
    files = []
    for name in SPLITS.values():
        for kind in ("ims.npy", "caps.txt", "ids.txt"):
            path = root / f"{name}_{kind}"
            if path.is_file():
                files.append(path)
            elif kind != "ids.txt":
                raise UserError(f"{path} is missing; precomp needs it for train, dev and test")
    return files


def read(
    root: AnyPath, options: DataConfig, problems: Problems
) -> tuple[dict[str, list[Record]], dict[str, RegionSource]]:
    """Reads the images of each split with their captions, and opens their features.

    Args:
        root: Folder of the features.
        options: Options of the dataset.
        problems: Receives the problems of the files.

    Raises:
        UserError: A file cannot be read, or features and captions do not match.
    """
    records: dict[str, list[Record]] = {}
    sources: dict[str, RegionSource] = {}
    shapes = set()
    for split, name in SPLITS.items():
        array = _open(root / f"{name}_ims.npy")
        captions = [line.strip() for line in read_lines(root / f"{name}_caps.txt", problems.notes)]
        rows, per_image = match_captions(array, len(captions), root / f"{name}_ims.npy")
        ids = _ids(root / f"{name}_ids.txt", split, rows, len(captions), problems)
        of_images = [
            Record(image_id, root / image_id, captions[first : first + per_image], (), image_id)
            for image_id, first in zip(ids, range(0, len(captions), per_image), strict=True)
        ]
        of_images = without_empty_sentences(of_images, problems.notes)
        has_text = np.array([bool(record.sentences) for record in of_images])
        problems.skipped += [
            f"{split}: {record.file_name}: no sentences"
            for record in of_images
            if not record.sentences
        ]
        if not has_text.any():
            raise UserError(f"{root}: no image of the {split} split has a caption")
        records[split] = [record for record in of_images if record.sentences]
        sources[split] = ArrayRegions(array, rows[has_text])
        shapes.add(array.shape[1:])
    if len(shapes) > 1:
        raise UserError(f"{root}: the features of the splits have different shapes: {shapes}")
    return records, sources


def match_captions(array: np.ndarray, num_captions: int, path: AnyPath) -> tuple[np.ndarray, int]:
    """Returns the row of each image, and the number of captions of each image.

    Args:
        array: Features [N, …].
        num_captions: Number of captions.
        path: File of the features, for messages.

    Raises:
        UserError: The numbers of rows and captions do not match.

    Example:
        >>> from pathlib import Path
        >>> array = np.repeat(np.arange(4.0)[:, None], 5, 0)
        >>> rows, captions = match_captions(array, 20, Path("ims.npy"))
        >>> rows.tolist(), captions
        ([0, 5, 10, 15], 5)
    """
    count, k = len(array), CAPTIONS_PER_IMAGE
    if not count or not num_captions or num_captions % count:
        raise UserError(
            f"{path} has {count} rows and there are {num_captions} captions: every image must "
            "have the same number of captions, or a row for each caption"
        )
    if num_captions == count and count % k == 0:
        # Rows are repeated if they are equal within a sample of groups of K captions.
        starts = range(0, count, max(k, count // 50 // k * k))
        if all(np.all(np.asarray(array[start : start + k]) == array[start]) for start in starts):
            return np.arange(0, count, k), k
    return np.arange(count), num_captions // count


def _open(path: AnyPath) -> np.ndarray:
    array = open_array(path)
    if array.ndim not in (2, 3) or not np.issubdtype(array.dtype, np.floating):
        shape = " x ".join(map(str, array.shape))
        raise UserError(
            f"{path} must have floats of shape images x features or images x regions x features, "
            f"not {shape} of {array.dtype}"
        )
    return array


def _ids(
    path: AnyPath, split: str, rows: np.ndarray, num_captions: int, problems: Problems
) -> list[str]:
    """Returns the ids of the images: those of the file, or else numbers."""
    numbers = [f"{split}-{row}" for row in rows.tolist()]
    if not path.is_file():
        return numbers
    ids = [line.strip() for line in read_lines(path, problems.notes)]
    if len(ids) == num_captions and len(rows) < num_captions:
        ids = ids[:: num_captions // len(rows)]
    if len(ids) != len(rows) or len(set(ids)) != len(ids) or not all(ids):
        problems.notes.append(
            f"{path.name}: ignored, because its {len(ids)} ids are not one for each of the "
            f"{len(rows)} images"
        )
        return numbers
    return ids
