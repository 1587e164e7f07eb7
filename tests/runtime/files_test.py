import stat
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest

from visem_tf.runtime.files import (
    atomic_folder,
    atomic_path,
    temporary_folder,
    unfinished_name,
    write_atomically,
)


def test_replaces_the_old_file_and_makes_folders(tmp_path: Path):
    target = tmp_path / "a" / "b.txt"
    write_atomically(target, "one")
    write_atomically(target, b"two\r\n")
    assert target.read_bytes() == b"two\r\n"
    assert [entry.name for entry in target.parent.iterdir()] == ["b.txt"]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path):
    target = tmp_path / "numbers.npy"
    target.write_text("old")
    with pytest.raises(RuntimeError, match="disk"), atomic_path(target) as temporary:
        temporary.write_text("half")
        assert target.read_text() == "old"
        raise RuntimeError("disk")
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_the_temporary_path_is_beside_it_with_its_suffix(tmp_path: Path):
    with atomic_path(tmp_path / "model.keras") as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".keras"
        temporary.write_text("x")


def test_a_very_long_name_can_be_written(tmp_path: Path):
    write_atomically(tmp_path / ("n" * 250 + ".txt"), "x")


def test_permissions_are_those_of_any_new_file(tmp_path: Path):
    (tmp_path / "plain").write_text("x")
    write_atomically(tmp_path / "atomic", "x")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "atomic")]
    assert modes[0] == modes[1]


def test_a_link_stays_a_link(tmp_path: Path):
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write_atomically(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"


def test_a_device_is_written_through(tmp_path: Path):
    write_atomically("/dev/null", "x")
    assert not Path("/dev/null").is_file()


def test_a_folder_is_refused(tmp_path: Path):
    with pytest.raises(IsADirectoryError, match="is a folder"):
        write_atomically(tmp_path, "x")


def test_a_full_disk_is_told_with_the_file(tmp_path: Path):
    with pytest.raises(OSError, match="No space") as caught, atomic_path(tmp_path / "a.npy"):
        raise OSError(28, "No space left on device")
    assert caught.value.filename == str(tmp_path / "a.npy")
    with pytest.raises(OSError, match="No space") as caught, atomic_path(tmp_path / "b") as path:
        raise OSError(28, "No space left on device", str(path))
    assert caught.value.filename == str(tmp_path / "b")


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path):
    target = tmp_path / "new" / "shard"
    with pytest.raises(OSError, match="No space") as caught, atomic_folder(target) as temporary:
        write_atomically(temporary / "a.txt", "a")
        assert not target.exists()
        raise OSError(28, "No space left on device", str(temporary / "b.txt"))
    assert caught.value.filename == str(target)
    assert list(target.parent.iterdir()) == []
    with pytest.raises(OSError, match="No space") as caught, atomic_folder(target) as temporary:
        raise OSError(28, "No space left on device", "/from", None, str(temporary / "copy"))
    assert (caught.value.filename, caught.value.filename2) == (str(target), None)
    with atomic_folder(target) as temporary:
        write_atomically(temporary / "a.txt", "a")
    assert [path.name for path in target.parent.iterdir()] == ["shard"]
    assert (target / "a.txt").read_text() == "a"


def test_a_temporary_folder_of_a_killed_process_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    source = """
        import os, signal, sys, tempfile
        from visem_tf.runtime.files import temporary_folder
        tempfile.tempdir = sys.argv[1]
        with temporary_folder() as folder:
            (folder / "model").write_text("weights")
            os.kill(os.getpid(), signal.SIGKILL)
        """
    command = [sys.executable, "-c", textwrap.dedent(source), str(tmp_path)]
    subprocess.run(command, check=False, cwd=Path(__file__).parents[2])
    [left] = tmp_path.iterdir()
    with temporary_folder() as folder:
        assert list(tmp_path.iterdir()) == [folder]
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert not left.exists() and not folder.exists()


def test_what_killed_processes_were_writing_is_removed(tmp_path: Path):
    ended = subprocess.Popen(["true"])
    ended.wait()
    machine, process, rest = unfinished_name(".npz").split("-")
    dead = tmp_path / f"{machine}-{ended.pid}-{rest}"
    folder = tmp_path / f"{machine}-{ended.pid}-000000.partial"
    alive = tmp_path / f"{machine}-{process}-{rest}"
    elsewhere = tmp_path / f".0000-{ended.pid}-{rest}"
    users = tmp_path / ".notes.partial"
    folder.mkdir()
    for path in (dead, folder / "x", alive, elsewhere, users):
        path.touch()
    write_atomically(tmp_path / "new.txt", "x")
    assert {path.name for path in tmp_path.iterdir()} == {
        "new.txt",
        *(path.name for path in (alive, elsewhere, users)),
    }
