"""neuraltalk's `vgg_feats.mat`: one vector a picture, in the order of `dataset.json`.

The key `feats` holds F × N numbers: one *column* a picture, whatever its README says, in the order
of `imgid`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from visem_tf.config import DataConfig
from visem_tf.datasets.collecting import collect
from visem_tf.datasets.formats.karpathy import read_karpathy
from visem_tf.datasets.formats.text import read_json
from visem_tf.datasets.locations import below
from visem_tf.datasets.precomputed.captions import captions_file
from visem_tf.datasets.problems import Problems
from visem_tf.datasets.records import Record, RegionBlock, RegionSource
from visem_tf.errors import UserError
from visem_tf.runtime.storage import AnyPath, readable

_PICTURES_AT_A_TIME = 256


class Vectors:
    """One vector a picture: the only region is the whole picture.

    Args:
        vectors: [N, F], a row a picture; may lie on the disk.
        rows: int [I], the rows of the pictures of a split.
    """

    has_boxes = True
    """The box of the whole picture is known."""

    def __init__(self, vectors: np.ndarray, rows: np.ndarray) -> None:
        self.vectors = vectors
        self.rows = rows

    def blocks(self, start: int) -> Iterator[RegionBlock]:
        """Yields the vectors of the pictures from a position on."""
        for first in range(start, len(self.rows), _PICTURES_AT_A_TIME):
            rows = self.rows[first : first + _PICTURES_AT_A_TIME]
            features = np.asarray(self.vectors[rows], np.float32)[:, np.newaxis]
            boxes = np.broadcast_to(np.array([0, 0, 1, 1], np.float32), (len(rows), 1, 4))
            yield RegionBlock(features, boxes, np.ones((len(rows), 1), bool))


def find(root: AnyPath, options: DataConfig) -> list[AnyPath]:
    """Returns the files of this kind in a folder."""
    if options.features.lower().endswith(".mat"):
        path = below(root, options.features)
        return [path, captions_file(root, options)] if path.is_file() else []
    found = [path for path in root.iterdir() if path.suffix.lower() == ".mat"]
    if len(found) > 1 and not options.features:
        names = " and ".join(sorted(path.name for path in found))
        raise UserError(f"{root} has {names}; choose one with --data.features")
    return [*found, captions_file(root, options)] if found else []


def read(
    root: AnyPath, options: DataConfig, problems: Problems
) -> tuple[dict[str, list[Record]], dict[str, RegionSource]]:
    """Reads the sentences, and the vectors of all pictures.

    Args:
        root: the user's folder.
        options: names of files, and where splits come from.
        problems: receives what is wrong.

    Raises:
        UserError: a file cannot be read, or has vectors of another number of pictures.
    """
    path, captions = find(root, options)
    records = read_karpathy(captions, root, problems.notes)
    columns = picture_columns(read_json(captions, [])["images"])
    vectors = as_rows(read_mat(path), len(columns), path, problems)
    if len(records) != len(columns):
        raise UserError(
            f"{captions} has entries that cannot be read, so that nobody knows which vectors of "
            f"{path.name} are whose; mend it ({problems.notes[-1]})"
        )
    row_of = {record.file_name: row for record, row in zip(records, columns, strict=True)}
    splits = collect("precomputed", records, options, problems, described=row_of.keys())
    sources: dict[str, RegionSource] = {
        split: Vectors(vectors, np.array([row_of[record.file_name] for record in part], np.int64))
        for split, part in splits.items()
    }
    return splits, sources


def picture_columns(images: list[Any]) -> list[int]:
    """Returns the column of each picture: its `imgid`, or its place where these do not count all.

    Args:
        images: of Karpathy's file.

    Example:
        >>> picture_columns([{"imgid": 1}, {"imgid": 0}]), picture_columns([{}, {"imgid": 7}])
        ([1, 0], [0, 1])
    """
    given = [image.get("imgid") if isinstance(image, dict) else None for image in images]
    places = list(range(len(images)))
    numbers = [number for number in given if type(number) is int]
    return numbers if sorted(numbers) == places else places


def as_rows(feats: np.ndarray, count: int, path: AnyPath, problems: Problems) -> np.ndarray:
    """Returns the vectors as rows, one for each picture.

    Args:
        feats: what the file holds, [F, N] as documented or else [N, F].
        count: N, the number of pictures.
        path: the file, for messages.
        problems: hears of it where the file has rows.

    Raises:
        UserError: neither axis has as many entries as there are pictures.
    """
    if feats.ndim != 2 or count not in feats.shape:
        shape = " x ".join(map(str, feats.shape))
        raise UserError(
            f"feats of {path} is {shape}, and there are {count} pictures: it must have a column "
            "for each; give the captions that belong to it with --data.captions"
        )
    if feats.shape[1] == count:
        return feats.T
    problems.decisions.append(f"{path.name} has a row a picture, and not a column")
    return feats


def read_mat(path: AnyPath) -> np.ndarray:
    """Returns the array `feats` of a MATLAB file, of versions 4 to 7.3.

    Raises:
        UserError: the file cannot be read, or SciPy is missing.
    """
    try:
        with path.open("rb") as file:
            start = bytes(file.read(128))
        if start[:19] == b"MATLAB 7.3 MAT-file" or start[:8] == b"\x89HDF\r\n\x1a\n":
            return _read_hdf5(path)
        return _read_matlab_5(path)
    except ImportError as error:
        raise UserError(f"{path} needs SciPy to be read; install visem_tf[precomputed]") from error
    except (OSError, ValueError, TypeError, NotImplementedError, EOFError) as error:
        raise UserError(f"{path} is no MATLAB file that can be read ({error})") from error
    except KeyError as error:
        raise UserError(f"{path} has no array feats; neuraltalk's vgg_feats.mat does") from error


def _read_matlab_5(path: AnyPath) -> np.ndarray:
    import scipy.io

    source = readable(path)
    try:
        content = scipy.io.loadmat(source, variable_names=["feats"])
    except scipy.io.matlab.MatReadError as error:
        raise ValueError(str(error)) from error
    return np.asarray(content["feats"])


def _read_hdf5(path: AnyPath) -> np.ndarray:
    import h5py

    with h5py.File(readable(path), "r") as file:
        # MATLAB counts axes the other way.
        return np.asarray(file["feats"]).T
