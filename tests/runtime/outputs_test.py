import argparse
import os
import tempfile
from pathlib import Path

import pytest

from visem_tf.errors import UserError
from visem_tf.runtime.outputs import output_file, output_folder
from visem_tf.runtime.startup import start_tensorflow


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    return tmp_path


@pytest.mark.parametrize(
    "place", ["", "file", "new", "new/a/b", "/dev/stdout", "memory://x", "hf://a/b"]
)
def test_files_that_can_be_written(place: str, folder: Path):
    assert output_file(place) == place
    assert sorted(path.name for path in folder.iterdir()) == ["file", "folder", "loop"]


@pytest.mark.parametrize("place", ["", "folder", "new", "new/a/b", "memory://x", "hf://a/b"])
def test_folders_that_can_be_written(place: str, folder: Path):
    assert output_folder(place) == place
    assert sorted(path.name for path in folder.iterdir()) == ["file", "folder", "loop"]


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("folder", "folder is a folder; give a file"),
        ("file/x", "file is not a folder"),
        ("file/x/y", "file is not a folder"),
        ("loop", "loop cannot be used .Too many levels of symbolic links"),
        ("loop/x", "loop/x cannot be used .Too many levels of symbolic links"),
        ("x" * 300, "File name too long"),
        ("a\0b", "null byte"),
        ("/proc/x", "/proc cannot be written"),
    ],
)
def test_files_that_cannot(place: str, message: str):
    with pytest.raises(argparse.ArgumentTypeError, match=message):
        output_file(place)


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("file", "file is not a folder"),
        ("file/x", "file is not a folder"),
        ("loop/x", "Too many levels of symbolic links"),
        ("x" * 300, "File name too long"),
        ("/proc/x", "/proc cannot be written"),
    ],
)
def test_folders_that_cannot(place: str, message: str):
    with pytest.raises(argparse.ArgumentTypeError, match=message):
        output_folder(place)


def test_a_folder_that_was_deleted(folder: Path, monkeypatch: pytest.MonkeyPatch):
    (folder / "gone").mkdir()
    monkeypatch.chdir(folder / "gone")
    (folder / "gone").rmdir()
    with pytest.raises(argparse.ArgumentTypeError, match="cannot be written .No such file"):
        output_file("x")


def test_a_user_without_a_home_can_start(monkeypatch: pytest.MonkeyPatch):
    def no_home() -> None:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setenv("HOME", "/somewhere")
    start_tensorflow()
    assert os.environ["HOME"] == "/somewhere"
    monkeypatch.setattr(Path, "home", no_home)
    start_tensorflow()
    assert os.environ["HOME"] == tempfile.gettempdir()


def test_a_home_that_does_not_exist():
    with pytest.raises(UserError, match="cannot use ~no-such-user/x: there is no such home folder"):
        output_file("~no-such-user/x")
