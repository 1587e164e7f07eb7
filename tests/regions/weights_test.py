"""The reader of PyTorch's weight files: values, strides, and what it must refuse."""

import collections
import io
import os
import pickle
import struct

import numpy as np
import pytest

from visem_tf.regions.backbone import weights_path
from visem_tf.regions.weights import read_torch_weights


def legacy_file(tensors, storages, *, cut=0):
    """A file as `torch.save` once wrote it, from (storage, offset, shape, strides) by name."""

    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            if isinstance(value, Storage):
                return ("storage", float_storage, value.key, "cpu", value.size, None)
            return None

    class Storage:
        def __init__(self, key, size):
            self.key, self.size = key, size

    class Tensor:
        def __init__(self, *arguments):
            self.arguments = arguments

        def __reduce__(self):
            return rebuild, self.arguments

    float_storage = _global("torch", "FloatStorage")
    rebuild = _global("torch._utils", "_rebuild_tensor_v2")
    buffer = io.BytesIO()
    for head in (0x1950A86A20F9469CFC6C, 1001, {}):
        pickle.dump(head, buffer, 2)
    state = collections.OrderedDict(
        (name, Tensor(Storage(key, len(storages[key])), offset, shape, strides, False, {}))
        for name, (key, offset, shape, strides) in tensors.items()
    )
    Pickler(buffer, 2).dump(state)
    pickle.dump(list(storages), buffer, 2)
    for values in storages.values():
        buffer.write(struct.pack("<q", len(values)) + np.asarray(values, "<f4").tobytes())
    return buffer.getvalue()[: len(buffer.getvalue()) - cut]


def _global(module, name):
    """A function that pickles as a reference to `module.name`, which need not exist."""
    import sys
    import types

    value = type(name, (), {}) if name[0].isupper() else (lambda *arguments: None)
    value.__module__, value.__qualname__, value.__name__ = module, name, name
    parts = module.split(".")
    for length in range(1, len(parts) + 1):
        sys.modules.setdefault(".".join(parts[:length]), types.ModuleType(parts[length - 1]))
    setattr(sys.modules[module], name, value)
    return value


@pytest.fixture(autouse=True)
def without_pretended_modules():
    """Takes the pretended torch away again."""
    import sys

    before = dict(sys.modules)
    yield
    for name in ("torch", "torch._utils"):
        if name not in before:
            sys.modules.pop(name, None)


def test_follows_the_strides_of_a_tensor(tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(
        legacy_file(
            {"plain": ("0", 0, (2, 3), (3, 1)), "transposed": ("0", 0, (3, 2), (1, 3))},
            {"0": [0, 1, 2, 3, 4, 5]},
        )
    )
    weights = read_torch_weights(path)
    np.testing.assert_array_equal(weights["plain"], [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(weights["transposed"], [[0, 3], [1, 4], [2, 5]])


def test_shares_a_storage_at_an_offset(tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(legacy_file({"tail": ("0", 2, (2,), (1,))}, {"0": [9, 8, 7, 6]}))
    np.testing.assert_array_equal(read_torch_weights(path)["tail"], [7, 6])


def test_refuses_to_call_anything(tmp_path):
    class Malicious:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "made by the file"),)

    path = tmp_path / "weights.pth"
    path.write_bytes(pickle.dumps(Malicious(), 2))
    with pytest.raises(ValueError, match="refused: the weight file asks for"):
        read_torch_weights(path)
    assert not (tmp_path / "made by the file").exists()


@pytest.mark.parametrize(
    ("offset", "strides"), [(0, (4, 1)), (4, (3, 1)), (0, (-3, 1)), (-1, (3, 1)), (7, (3, 1))]
)
def test_refuses_a_tensor_that_reaches_outside_its_storage(tmp_path, offset, strides):
    path = tmp_path / "weights.pth"
    tensors = {"w": ("0", offset, (2, 3), strides)}
    path.write_bytes(legacy_file(tensors, {"0": [0, 1, 2, 3, 4, 5]}))
    with pytest.raises(ValueError, match="not a PyTorch weight file: "):
        read_torch_weights(path)


@pytest.mark.parametrize("content", [b"", b"not a pickle", pickle.dumps(5, 2)])
def test_refuses_what_is_no_weight_file(tmp_path, content):
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="not a PyTorch weight file"):
        read_torch_weights(path)


def test_refuses_a_file_that_is_cut_short(tmp_path):
    path = tmp_path / "weights.pth"
    path.write_bytes(legacy_file({"w": ("0", 0, (4,), (1,))}, {"0": [0, 1, 2, 3]}, cut=3))
    with pytest.raises(ValueError, match="not a PyTorch weight file: it is truncated"):
        read_torch_weights(path)


def test_reads_the_real_file():
    weights = read_torch_weights(weights_path("efficientnet_lite0"))
    assert weights["_conv_stem.weight"].shape == (32, 3, 3, 3)
    assert weights["_fc.weight"].shape == (1000, 1280)
    assert all(np.isfinite(array).all() for array in weights.values())
