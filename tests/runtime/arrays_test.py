import contextlib
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from visem_tf.runtime.arrays import read_arrays


def header(shape: tuple[int, ...]) -> bytes:
    file = io.BytesIO()
    fields = {"descr": "<f4", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, fields)
    return file.getvalue()


def archive(path: Path, content: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("scores.npy", content)
    return path


def test_arrays_come_back(tmp_path: Path):
    arrays = {"x": np.arange(6).reshape(2, 3), "s": np.array(["a", "bc"]), "e": np.zeros((0, 3))}
    np.savez_compressed(tmp_path / "a.npz", **arrays)
    found = read_arrays(tmp_path / "a.npz")
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((10**10, 2), "expected .* got 4|does not fit into memory"),
        ((2**33, 2**33), "reshape"),
        ((-1, 2), "negative"),
        ((0,), "fewer bytes than the file has"),
    ],
)
def test_an_array_must_have_the_size_that_it_declares(tmp_path: Path, shape, message: str):
    with pytest.raises(ValueError, match=message):
        read_arrays(archive(tmp_path / "a.npz", header(shape) + b"1234"))


def test_damage_of_every_byte_is_a_value_error(tmp_path: Path):
    whole = archive(tmp_path / "a.npz", header((2,)) + bytes(8)).read_bytes()
    for position in range(len(whole)):
        damaged = bytearray(whole)
        damaged[position] ^= 0xFF
        (tmp_path / "b.npz").write_bytes(damaged)
        with contextlib.suppress(ValueError):  # any other error fails the test
            read_arrays(tmp_path / "b.npz")


def test_other_files_are_named(tmp_path: Path):
    path = tmp_path / "a.npz"
    for content, message in ((b"", "not a zip"), (header((1,)) + b"1234", "is a single array")):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=message):
            read_arrays(path)
    with pytest.raises(FileNotFoundError):
        read_arrays(tmp_path / "missing.npz")
