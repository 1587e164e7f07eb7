"""Reads `.npz` files whose content is not known to be what it should be."""

import zipfile

import numpy as np

from visem_tf.runtime.storage import PathLike, as_path, reason_of, require_regular

_SINGLE_ARRAY = b"\x93NUMPY"


def read_arrays(path: PathLike) -> dict[str, np.ndarray]:
    """Returns all arrays of an `.npz` file by name.

    An array that declares another size than the file has is refused.

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
            raise ValueError(reason_of(error)) from error


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(member) as file:
        # NumPy reads in parts, so that memory is used only for what the file has.
        array = np.lib.format.read_array(file, allow_pickle=False)
        if file.read(1):  # at the end of the file, its checksum is compared
            raise ValueError("an array declares fewer bytes than the file has")
        return array
