"""neuraltalk's `vgg_feats.mat`: a feature vector for each image of `dataset.json`.

The array `feats` is F × N, one *column* for each image in the order of `imgid`, although its README
says rows.
"""

from typing import Any

import numpy as np

from visem_tf.config import DataConfig
from visem_tf.datasets.collecting import collect
from visem_tf.datasets.formats.karpathy import read_karpathy
from visem_tf.datasets.formats.text import read_json
from visem_tf.datasets.locations import below, visible
from visem_tf.datasets.precomputed.arrays import ArrayRegions
from visem_tf.datasets.precomputed.captions import captions_file
from visem_tf.datasets.problems import Problems
from visem_tf.datasets.records import Record, RegionSource
from visem_tf.errors import UserError
from visem_tf.runtime.storage import AnyPath, readable

_MAX_COMPRESSION = 1100  # by the algorithm of MATLAB and HDF5, deflate


def find(root: AnyPath, options: DataConfig) -> list[AnyPath]:
    """Returns the files of this format in a folder."""
    if options.features.lower().endswith(".mat"):
        found = [path for path in [below(root, options.features)] if path.is_file()]
    else:
        mats = [path for path in visible(root) if path.suffix.lower() == ".mat"]
        found = [path for path in mats if path.is_file()]
        if len(found) > 1 and not options.features:
            names = " and ".join(sorted(path.name for path in found))
            raise UserError(f"{root} has {names}; choose one with --data.features")
    return [*found, captions_file(root, options)] if found else []


def read(
    root: AnyPath, options: DataConfig, problems: Problems
) -> tuple[dict[str, list[Record]], dict[str, RegionSource]]:
    """Reads the images of each split with their captions, and their features.

    Args:
        root: Folder of the features.
        options: Options of the dataset.
        problems: Receives the problems of the files.

    Raises:
        UserError: A file cannot be read, or the number of vectors is not that of the images.
    """
    path, captions = find(root, options)
    records = read_karpathy(captions, root, problems.notes)
    columns = image_columns(read_json(captions, [])["images"])
    vectors = as_rows(read_mat(path), len(columns), path, problems)
    if len(records) != len(columns):
        raise UserError(
            f"{captions} has entries that cannot be read, so the vectors of {path.name} cannot be "
            f"matched to its images; fix the file ({problems.notes[-1]})"
        )
    row_of = {record.file_name: row for record, row in zip(records, columns, strict=True)}
    splits = collect("precomputed", records, options, problems, described=row_of.keys())
    sources: dict[str, RegionSource] = {
        split: ArrayRegions(vectors, np.array([row_of[each.file_name] for each in part], np.int64))
        for split, part in splits.items()
    }
    return splits, sources


def image_columns(images: list[Any]) -> list[int]:
    """Returns the column of each image: its `imgid`, or its position if these are incomplete.

    Args:
        images: Entries of Karpathy's file.

    Example:
        >>> image_columns([{"imgid": 1}, {"imgid": 0}]), image_columns([{}, {"imgid": 7}])
        ([1, 0], [0, 1])
    """
    positions = list(range(len(images)))
    given = [image.get("imgid") for image in images if isinstance(image, dict)]
    columns = [number for number in given if type(number) is int]
    return columns if sorted(columns) == positions else positions


def as_rows(feats: np.ndarray, count: int, path: AnyPath, problems: Problems) -> np.ndarray:
    """Returns the features with a row for each image.

    Args:
        feats: Array of the file, [F, N] as documented or else [N, F].
        count: Number of images N.
        path: The file, for messages.
        problems: Receives the decision if the file has rows.

    Raises:
        UserError: Neither axis has N entries.
    """
    if feats.ndim != 2 or count not in feats.shape:
        shape = " x ".join(map(str, feats.shape))
        raise UserError(
            f"feats of {path} is {shape}, but there are {count} images: it must have a column for "
            "each; give the captions that belong to it with --data.captions"
        )
    if feats.shape[1] == count:
        return feats.T
    problems.decisions.append(f"{path.name} has a row for each image instead of a column")
    return feats


def read_mat(path: AnyPath) -> np.ndarray:
    """Reads the array `feats` of a MATLAB file of version 4 to 7.3.

    Raises:
        UserError: The file cannot be read, or SciPy is not installed.
    """
    try:
        with path.open("rb") as file:
            start = bytes(file.read(128))
        if start[:19] == b"MATLAB 7.3 MAT-file" or start[:8] == b"\x89HDF\r\n\x1a\n":
            return _read_hdf5(path)
        return _read_matlab_5(path)
    except ImportError as error:
        raise UserError(
            f"reading {path} needs SciPy: pip install 'visem_tf[precomputed]'"
        ) from error
    except MemoryError as error:
        raise UserError(f"cannot read {path}: its feats do not fit into memory") from error
    except (OSError, ValueError, TypeError, NotImplementedError, EOFError) as error:
        raise UserError(f"cannot read {path} as a MATLAB file ({error})") from error
    except KeyError as error:
        raise UserError(f"{path} has no array feats, unlike neuraltalk's vgg_feats.mat") from error


def _read_matlab_5(path: AnyPath) -> np.ndarray:
    import scipy.io

    try:
        content = scipy.io.loadmat(readable(path), variable_names=["feats"])
    except scipy.io.matlab.MatReadError as error:
        raise ValueError(str(error)) from error
    return np.asarray(content["feats"])


def _read_hdf5(path: AnyPath) -> np.ndarray:
    import h5py

    with h5py.File(readable(path), "r") as file:
        feats = file["feats"]
        if not isinstance(feats, h5py.Dataset):
            raise ValueError("feats is no array")
        stored = feats.id.get_storage_size()
        if feats.nbytes > _MAX_COMPRESSION * stored:
            raise ValueError(f"feats declares {feats.nbytes:,} bytes, and the file has {stored:,}")
        return np.asarray(feats).T  # MATLAB stores the axes in reverse order
