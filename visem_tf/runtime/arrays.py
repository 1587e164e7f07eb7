"""Reads `.npz` files whose content is not known to be what it should be."""

from __future__ import annotations

import zipfile
from typing import IO

import numpy as np

from visem_tf.runtime.storage import PathLike, as_path, require_regular

_SINGLE_ARRAY = b"\x93NUMPY"


def read_arrays(path: PathLike) -> dict[str, np.ndarray]:
    """Returns all arrays of an `.npz` file by name.

    The sizes that the arrays declare are compared with what the file has before memory is taken
    for them.

    Args:
        path: File on any storage.

    Raises:
        OSError: The file cannot be read.
        ValueError: The file is not an archive of plain arrays, is damaged, or does not fit into
            memory.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> file = Path(tempfile.mkdtemp()) / "numbers.npz"
        >>> np.savez(file, one=np.ones(2))
        >>> read_arrays(file)
        {'one': array([1., 1.])}
    """
    path = as_path(path)
    require_regular(path)
    with path.open("rb") as file:
        if file.read(len(_SINGLE_ARRAY)) == _SINGLE_ARRAY:
            raise ValueError("it is a single array; give an .npz file with names")
        try:
            with zipfile.ZipFile(file) as archive:
                return {
                    member.filename.removesuffix(".npy"): _read(archive, member)
                    for member in archive.infolist()
                }
        except MemoryError as error:
            raise ValueError("it does not fit into memory") from error
        except Exception as error:  # damage raises errors of zipfile, zlib, struct …
            raise ValueError(" ".join(str(error).split()) or type(error).__name__) from error


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(member) as file:
        _check_size(file, member.file_size)
    with archive.open(member) as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _check_size(file: IO[bytes], available: int) -> None:
    """Raises a ValueError if an `.npy` file declares another size than it has.

    Args:
        file: The file, at its beginning.
        available: Bytes that the file has.
    """
    version = np.lib.format.read_magic(file)
    read_header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read_header is None:
        raise ValueError(f"it is of version {version} of NumPy's format, which is not read")
    shape, _, dtype = read_header(file)
    declared = dtype.itemsize
    for length in shape:
        declared *= int(length)
    if declared != available - file.tell():
        raise ValueError(
            f"an array declares {declared:,} bytes, and the file has {available - file.tell():,}"
        )
