"""Reads PyTorch weight files without PyTorch and without running code from them.

A `.pth` file is a pickle, and a pickle may name any function to call while it is read. The reader
here accepts ordered dictionaries, storages and the function that rebuilds a tensor, and refuses a
file with anything else.
"""

import collections
import os
import pickle
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
_PROTOCOL_VERSION = 1001
_STORAGE_TYPES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}


class _Tensor(NamedTuple):
    key: str  # of the storage
    dtype: np.dtype
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _rebuild_tensor(storage: Any, offset: int, shape: Any, strides: Any, *_: Any) -> _Tensor:
    key, dtype = storage
    return _Tensor(key, dtype, offset, shape, strides)


class _WeightsUnpickler(pickle.Unpickler):
    """Accepts the parts of a state dictionary, and nothing that could run code."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild_tensor
        if module == "torch" and name in _STORAGE_TYPES:
            return _STORAGE_TYPES[name]
        raise ValueError(f"refused: the weight file asks for {module}.{name}")

    def persistent_load(self, pid: Any) -> tuple[str, np.dtype]:
        kind, dtype, key, *_ = pid
        if kind != "storage" or not isinstance(dtype, np.dtype):
            raise ValueError(f"refused: the weight file has an unknown object {kind!r}")
        return str(key), dtype


def read_torch_weights(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Reads a state dictionary in PyTorch's legacy format.

    Args:
        path: Path of the `.pth` file.

    Returns:
        Arrays by the names of the parameters, in the order of the file. The strides of each tensor
        are applied: its raw storage need not be in row order.

    Raises:
        ValueError: The file has another format, is truncated, or asks for anything but tensors.
    """
    with Path(path).open("rb") as file:
        try:
            return _read(file)
        except (pickle.UnpicklingError, EOFError, TypeError, ValueError, LookupError) as error:
            raise ValueError(f"{os.fspath(path)} is not a PyTorch weight file: {error}") from error


def _read(file: BinaryIO) -> dict[str, np.ndarray]:
    if _WeightsUnpickler(file).load() != _MAGIC_NUMBER:
        raise pickle.UnpicklingError("wrong magic number")
    if _WeightsUnpickler(file).load() != _PROTOCOL_VERSION:
        raise pickle.UnpicklingError("unknown protocol version")
    _WeightsUnpickler(file).load()  # byte order and type sizes of the machine that wrote it
    tensors: dict[str, _Tensor] = _WeightsUnpickler(file).load()
    keys = _WeightsUnpickler(file).load()
    dtypes = {tensor.key: tensor.dtype for tensor in tensors.values()}
    storages = {}
    for key in keys:
        [size] = np.frombuffer(_exactly(file, 8), "<i8")
        storages[key] = _exactly(file, int(size) * dtypes[key].itemsize)
    return {name: _as_array(tensor, storages[tensor.key]) for name, tensor in tensors.items()}


def _exactly(file: BinaryIO, size: int) -> bytes:
    content = file.read(size) if size >= 0 else b""
    if len(content) != size:
        raise EOFError("it is truncated")
    return content


def _as_array(tensor: _Tensor, storage: bytes) -> np.ndarray:
    """The elements of a tensor; NumPy refuses what reaches outside of the storage."""
    size = tensor.dtype.itemsize
    strides = [stride * size for stride in tensor.strides]
    view = np.ndarray(tensor.shape, tensor.dtype, storage, tensor.offset * size, strides)
    return np.ascontiguousarray(view)
